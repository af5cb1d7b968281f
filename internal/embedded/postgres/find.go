package pgserver

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// oldestMajor is the oldest PostgreSQL that the schema and the queries hold on.
const oldestMajor = 15

// Installation is a PostgreSQL that can be run.
type Installation struct {
	BinDir  string // the folder with initdb and postgres
	Version string // as PostgreSQL writes it: 15.18
	Major   int
	Source  string // where it comes from, for people
}

// installedFolders are where distributions put PostgreSQL; they rarely put its server into PATH.
func installedFolders() []string {
	var folders []string
	for _, name := range []string{"postgres", "initdb"} {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil {
				folders = append(folders, filepath.Dir(path))
			}
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/lib/postgresql*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*", "/usr/local/pgsql/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin", "/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		found, _ := filepath.Glob(pattern) // fails on a bad pattern only
		folders = append(folders, found...)
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// newestInstalled is the newest usable one of the folders, with a line on each that is not usable.
func newestInstalled(ctx context.Context, folders []string, as *account) (newest Installation, found bool, rejected []string) {
	for _, folder := range folders {
		one, err := inspect(ctx, folder, as)
		if err != nil {
			rejected = append(rejected, err.Error())
			continue
		}
		one.Source = "installed in " + folder
		if !found || compareVersions(one.Version, newest.Version) > 0 {
			newest, found = one, true
		}
	}
	return newest, found, rejected
}

// inspect tells what is in a folder, or why it cannot be used.
func inspect(ctx context.Context, folder string, as *account) (Installation, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			return Installation{}, fmt.Errorf("%s: has no %s", folder, name)
		}
	}
	if !as.canReach(folder) {
		return Installation{}, fmt.Errorf("%s: the account %s, which PostgreSQL would run as, cannot enter it", folder, as.name)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	output, err := exec.CommandContext(ctx, filepath.Join(folder, "postgres"), "--version").CombinedOutput()
	if err != nil {
		return Installation{}, fmt.Errorf("%s: postgres --version: %w: %.200s", folder, explainExec(err), output)
	}
	match := regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`).FindSubmatch(output)
	if match == nil {
		return Installation{}, fmt.Errorf("%s: postgres --version answers %.200q", folder, output)
	}
	major, err := strconv.Atoi(string(match[2]))
	if err != nil || major < oldestMajor {
		return Installation{}, fmt.Errorf("%s: PostgreSQL %s is too old, %d is the oldest supported", folder, match[1], oldestMajor)
	}
	return Installation{BinDir: folder, Version: string(match[1]), Major: major}, nil
}

func compareVersions(a, b string) int {
	number := regexp.MustCompile(`\d+`)
	as, bs := number.FindAllString(a, -1), number.FindAllString(b, -1)
	return slices.CompareFunc(as, bs, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}
