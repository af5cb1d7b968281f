package checks_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/deploy/check/internal/checks"
)

const root = "../../../.."

func TestNothingIsWrong(t *testing.T) {
	t.Parallel()
	copied := copyDeploy(t)
	for _, check := range checks.All() {
		for _, problem := range check.Run(t.Context(), copied) {
			t.Errorf("%s: %s: %s", check.Name, problem.File, problem.Reason)
		}
	}
}

// breakage is one change to one file, and the problem that the named check must find in it.
type breakage struct {
	name     string
	check    string
	file     string // below deploy/
	old, new string
	in       string // the file to be blamed; the changed one when empty
	want     string // part of the reason
}

func TestBreakageIsFound(t *testing.T) {
	t.Parallel()
	tables := map[string][]breakage{"docker": dockerBreakages, "compose": composeBreakages, "servers": serverBreakages, "kubernetes": kubernetesBreakages}
	for group, table := range tables {
		for _, tc := range table {
			t.Run(group+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				copied := copyDeploy(t)
				tc.apply(t, copied)
				tc.expect(t, find(t, tc.check).Run(t.Context(), copied))
			})
		}
	}
}

// Every check must be proven able to fail.
func TestEveryCheckIsBroken(t *testing.T) {
	t.Parallel()
	all := slices.Concat(dockerBreakages, composeBreakages, serverBreakages, kubernetesBreakages)
	for _, check := range checks.All() {
		if !slices.ContainsFunc(all, func(tc breakage) bool { return strings.HasPrefix(check.Name, tc.check) }) {
			t.Errorf("no breakage shows that %q can fail", check.Name)
		}
	}
}

func TestServiceWithoutDeployment(t *testing.T) {
	t.Parallel()
	copied := copyDeploy(t)
	if err := os.Mkdir(copied.Path("services/courier"), 0o755); err != nil {
		t.Fatal(err)
	}
	var blamed []string
	for _, problem := range find(t, "every command").Run(t.Context(), copied) {
		if problem.Reason == "nothing runs tributary courier" {
			blamed = append(blamed, problem.File)
		}
	}
	if want := []string{"deploy/compose.yaml", "deploy/k8s"}; !slices.Equal(blamed, want) {
		t.Errorf("blamed %q, want %q", blamed, want)
	}
}

func (b breakage) apply(t *testing.T, copied checks.Root) {
	t.Helper()
	path := copied.Path("deploy/" + b.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), b.old) {
		t.Fatalf("%s no longer has %q: change the test", b.file, b.old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), b.old, b.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b breakage) expect(t *testing.T, problems []checks.Problem) {
	t.Helper()
	in := b.in
	if in == "" {
		in = b.file
	}
	if !slices.ContainsFunc(problems, func(problem checks.Problem) bool {
		return problem.File == "deploy/"+in && strings.Contains(problem.Reason, b.want)
	}) {
		t.Errorf("found %q, want deploy/%s: …%s…", problems, in, b.want)
	}
}

func find(t *testing.T, prefix string) checks.Check {
	t.Helper()
	for _, check := range checks.All() {
		if strings.HasPrefix(check.Name, prefix) {
			return check
		}
	}
	t.Fatalf("there is no check called %q…", prefix)
	return checks.Check{}
}

// copyDeploy is a root with a copy of the deployment files and the folders of the services they deploy.
func copyDeploy(t *testing.T) checks.Root {
	t.Helper()
	copied := checks.Root(t.TempDir())
	for _, service := range []string{"scheduler", "syncer", "item-worker", "webhook-ingress", "token-refresher"} {
		if err := os.MkdirAll(copied.Path("services/"+service), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range []string{"*", "nats/*", "prometheus/*", "k8s/*"} {
		files, err := filepath.Glob(filepath.Join(root, "deploy", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			copyFile(t, file, copied)
		}
	}
	return copied
}

func copyFile(t *testing.T, file string, to checks.Root) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name, err := filepath.Rel(root, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to.Path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to.Path(name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}
