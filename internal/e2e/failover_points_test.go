package e2e_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Why no failover is tried at a point.
const (
	beforeTheCopy = "it is passed before the copy of the database is made"
	notReached    = "a sync in which nothing fails does not pass it: TestCrashPoints has it, without a failover"
	withRedrives  = "TestProveFailoverRedrives has a failover there"
	withWebhooks  = "TestProveFailoverWebhooks has a failover there"
	ofWebhooks    = "it is on the way of webhooks: TestWebhookCrashPoints has it, without a failover"
	ofCommands    = "it is on the way of commands: TestCommandFoundLate and TestCrashPoints have it, without a failover"
	ofRevoking    = "it is on the way of revoking: TestCrashWhileRevoking has it, without a failover"
	withTokens    = "TestProveFailoverTokens has a failover there"
	withKeys      = "TestProveFailoverKeys has a failover there"
)

// failsNowhere are the points at which no failover is tried, and why.
func failsNowhere() map[string]string {
	return map[string]string{
		"scheduler: runs opened": beforeTheCopy, "scheduler: outbox message published": beforeTheCopy,
		"syncer: attempt started":  beforeTheCopy,
		"syncer: dead item stored": notReached,
		"syncer: waiting": "nothing is finished by then: TestSyncerDiesOnceItsRunWaits has it, without a " +
			"failover",
		"item-worker: hop published": withRedrives, "item-worker: dead items stored": withRedrives,
		"item-worker: dead item resolved": withRedrives,
		"scheduler: before late reduce":   notReached,
		"item-worker: marked running":     "it is before a handler is called, so that nothing is finished",
		"webhook-ingress: webhook stored": withWebhooks, "item-worker: webhook stored": withWebhooks,
		"item-worker: webhooks claimed":        withWebhooks,
		"item-worker: webhook's items handled": withWebhooks, "item-worker: before webhook finished": withWebhooks,
		"item-worker: webhook finished":   withWebhooks,
		"item-worker: webhook found late": ofWebhooks, "scheduler: directory entry written": ofWebhooks,
		"scheduler: command found late": ofCommands, "scheduler: command carried out": ofCommands,
		"scheduler: mark moved":                 "the mark informs only: TestMarkOfADeadScheduler has it",
		"scheduler: incident of a store opened": "the mark informs only: TestIncidentOfADeadScheduler has it",
		"token-refresher: intent written":       withTokens, "token-refresher: answered": withTokens,
		"token-refresher: stored":         withTokens,
		"token-refresher: shadow written": withTokens, "token-refresher: kept": withTokens,
		"token-refresher: code exchanged":   withTokens,
		"token-refresher: revoked upstream": ofRevoking,
		"outbound: key reserved":            withKeys, "outbound: shadow written": withKeys,
		"outbound: answer received": withKeys,
	}
}

// TestFailoverPointsAreWhole finds every crash point of the sources in exactly one of the two tables.
func TestFailoverPointsAreWhole(t *testing.T) {
	t.Parallel()
	inSources := crashPointsOfSources(t)
	tried, left := failoverPoints(), failsNowhere()
	delete(tried, "")
	for _, point := range inSources {
		_, isTried := tried[point]
		if _, isLeft := left[point]; isTried == isLeft {
			t.Errorf("%q: tried is %v, left out is %v; want one of them", point, isTried, isLeft)
		}
		delete(tried, point)
		delete(left, point)
	}
	for point := range tried {
		t.Errorf("%q is tried, and there is no such point", point)
	}
	for point := range left {
		t.Errorf("%q is left out, and there is no such point", point)
	}
}

func crashPointsOfSources(t *testing.T) (points []string) {
	t.Helper()
	named := regexp.MustCompile(`\b[cC]rash\("([^"]+)"\)`)
	for _, dir := range []string{"services", "internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, match := range named.FindAllStringSubmatch(string(source), -1) {
				points = append(points, match[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(points)
	return slices.Compact(points)
}
