package providertest_test

// flawsOfSync are flaws of requests, answers and cursors.
func flawsOfSync() map[string]string {
	return map[string]string{
		"a rule that there is none of":         "no process would start with these rules",
		"takes an error under 200 for nothing": "200 with an error: the sync ends as if it were complete",
		"takes what is not JSON for the end":   "malformed: the sync returns a permanent error",
		"the answer in an error":               "in which the upstream quotes a credential",
		"asks again at once":                   "which it has asked for before",
		"keeps the first credentials":          "the requests of an integration carry the credentials of another",
		"keeps the first address":              "the host of another: does the provider keep metadata in itself?",
		"health without credentials":           "HealthCheck is healthy with credentials that the upstream refuses",
		"requests to a host that is not named": "which is not among the hosts that CredentialHosts names",
		"expects a text in every note":         "the sync, when 0 text is null in the answer to request 1, panics at",
		"rounds the cursor":                    "is the cursor read as it was written?",
		"a strange cursor is now":              "SyncIncremental finds 0 of 16 items and returns nil",
		"the reducer sorts its argument":       "changes or sorts its argument",
		"the reducer compares texts":           "does it compare times as texts?",
		"leaves goroutines behind":             "goroutines of the provider still run after all its calls have returned",
		"nobody":                               "ResolveIdentity returns neither an ID nor an error",
		"somebody for every answer":            "ResolveIdentity returns no error although the upstream answers 500",
	}
}
