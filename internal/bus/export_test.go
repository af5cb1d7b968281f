package bus

// BucketStream is the stream that a bucket is.
var BucketStream = bucketStream
