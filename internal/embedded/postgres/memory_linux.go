package pgserver

import "syscall"

// roomyMemory is a folder in memory with more than 4 GiB free, or empty. Containers usually have 64 MiB there.
func roomyMemory() string {
	const dir, tmpfs, enough = "/dev/shm", 0x01021994, 4 << 30
	var stat syscall.Statfs_t
	if syscall.Statfs(dir, &stat) != nil || int64(stat.Type) != tmpfs || int64(stat.Bavail)*int64(stat.Bsize) < enough {
		return ""
	}
	return dir
}
