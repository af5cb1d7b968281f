package cli

const ExitUsage = 2

func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	return 1
}

type Commands struct{}
type Env struct{}
