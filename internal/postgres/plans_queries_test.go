package postgres_test

import "maps"

type (
	// plan says with which arguments a query is explained, and what it may read.
	plan struct {
		// arguments are sets of SQL expressions by the parameter's name; what a set lacks is a usual one, or some value of the type.
		arguments []arguments
		// hot queries run every second or more often. They are explained without statistics and with stale ones too.
		hot bool
		// index is one that the plan must use.
		index string
		// reads and buffers are limits in the place of the usual ones; scans is a table that may be read whole.
		reads, buffers int
		scans          string
	}
	arguments map[string]string
)

// usualArguments are for parameters that mean the same in all queries.
var usualArguments = arguments{
	"now": "now()", "most": "100", "integrationid": large, "integrationids": "array[" + large + "]", "providers": "'{shop}'", "provider": "'shop'",
	"attempt": "1", "eventtype": "'shop.Order'", "externalid": "'50'", "kind": "'order'", "before": "null", "grain": "'hour'", "item": "''", "webhook": "''",
}

const (
	// large is the integration that has half of the history; small is one of two thousand others.
	large = "id('integration', 1)"
	small = "id('integration', 7)"
)

// row explains a query of one row, which has an id.
func row(kind string) plan {
	return plan{arguments: []arguments{{"id": "id('" + kind + "', 50)", "runid": "id('" + kind + "', 50)", "incidentid": "id('" + kind + "', 50)"}}}
}

// list explains a query that lists: of all integrations, of a large and of a small one, from the newest and from within.
func list(within string, more ...arguments) plan {
	var p plan
	for _, integration := range []string{"null", large, small} {
		for _, before := range []string{"null", within} {
			for _, one := range append(more, nil) {
				set := arguments{"integrationid": integration, "before": before}
				maps.Copy(set, one)
				p.arguments = append(p.arguments, set)
			}
		}
	}
	return p
}

func with(sets ...arguments) plan { return plan{arguments: sets} }

func (p plan) often() plan               { p.hot = true; return p }
func (p plan) using(index string) plan   { p.index = index; return p }
func (p plan) reading(rows int) plan     { p.reads = rows; return p }
func (p plan) touching(buffers int) plan { p.buffers = buffers; return p }
func (p plan) scanning(tbl string) plan  { p.scans, p.reads = tbl, 1<<40; return p }

// monthAgo is the age at which things are pruned.
const monthAgo = "now() - interval '30 days'"

// plans has an entry for every query.
var plans = map[string]plan{
	"AnswerList":  with(arguments{"key": "decode(md5('50'), 'hex')"}),
	"AnswerPut":   {},
	"AnswerPrune": with(arguments{"most": "1000"}),

	"CircuitMove": {}, "CircuitsNoted": with(arguments{"ids": "array[" + small + "]"}), "CircuitGet": {},

	"CredentialsRead": {}, "CredentialsPut": {}, "CredentialsStale": {}, "CredentialsReseal": {}, "CredentialsVersion": {}, "CredentialsOfOtherKeys": {},
	"CredentialsVersions": with(arguments{"ids": "array[id('integration', 5)]"}).often(),

	"DeletedIntegrations": {}, "DeletedIntegrationDone": with(arguments{"deletedbefore": "now()"}), "RequestDeleteOf": with(arguments{"most": "1000"}),

	"DeadInsertMany":        with(arguments{"runid": "id('run', 50)"}),
	"DeadGet":               row("dead"),
	"DeadList":              list("id('dead', 30000)", arguments{"allofthem": "true"}),
	"DeadOfAttempt":         with(arguments{"runid": "id('run', 7)"}),
	"DeadClaimRedrive":      with(arguments{"id": "null"}, arguments{"integrationid": small, "id": "null"}, arguments{"id": "id('dead', 99950)"}),
	"DeadRedriveState":      row("dead"),
	"DeadHop":               row("dead"),
	"DeadResolve":           row("dead"),
	"DeadReopen":            row("dead"),
	"DeadReopenLost":        with(arguments{"olderthan": "now()"}).often(),
	"DeadSupersedeAttempts": row("run"),
	"DeadSupersedeRuns":     with(arguments{"runids": "array[id('run', 7), id('run', 8)]"}),
	"DeadCountOpen":         plan{}.often(),
	"StreakRaise":           with(arguments{"runid": "id('run', 7)"}),
	"StreakAlerted":         {},
	"StreakClear":           with(arguments{"runid": "id('run', 7)", "integrationid": small}),
	"DeadResolveMany":       with(arguments{"runid": "id('run', 7)", "batches": "'{1,2}'", "itemindexes": "'{0,0}'"}),
	"DeadPrune":             with(arguments{"settledbefore": monthAgo, "most": "1000"}, arguments{"settledbefore": "now() - interval '90 days'", "most": "1000"}),

	"DirectoryRow": with(arguments{"id": small}), "DirectoryVersions": {},

	"HandledTypeAnnounce": with(arguments{"eventtypes": "'{shop.Order}'", "kinds": "'{item}'", "seenbefore": "now()"}).often(),
	"HandledTypesBack":    with(arguments{"eventtypes": "'{shop.Order}'", "kinds": "'{item}'", "gonebefore": "now()"}).often(),
	"HandledTypesAmong":   with(arguments{"eventtypes": "'{shop.Order}'", "kind": "'item'"}).often(),
	"HandledTypeList":     with(arguments{"provider": "''", "afterprovider": "''", "afterkind": "''", "aftereventtype": "''"}),
	"HandledTypeForget":   with(arguments{"kind": "'item'", "seenbefore": "now()"}),

	"HealthReport": with(arguments{"ids": "array[" + small + "]"}).often(), "HealthEnable": with(arguments{"id": small}), "HealthTryAgain": with(arguments{"id": small}),
	"HealthClaimProbes": plan{}.often(), "HealthSetIdentity": with(arguments{"id": small}),

	"SealedCountByKey": {}, "WebhookStale": {}, "WebhookReseal": {}, "KeyStale": {}, "KeyReseal": {},
	"AnswerKeys": with(arguments{"most": "1000"}), "AnswerDrop": with(arguments{"keys": "array[decode(md5('50'), 'hex')]", "variants": "array[decode(md5('100'), 'hex')]"}),

	"KeyReserve":      with(arguments{"key": "'key 50'", "fingerprint": "''", "state": "'reserved'"}).often(),
	"KeyGet":          with(arguments{"key": "'key 50'"}).often(),
	"KeyExpire":       with(arguments{"key": "'key 50'"}),
	"KeyExpireAll":    plan{}.often(),
	"KeySettle":       with(arguments{"key": "'key 50'", "state": "'succeeded'"}).often(),
	"KeyResolve":      with(arguments{"key": "'key 50'", "state": "'succeeded'"}),
	"KeyList":         list("null", arguments{"key": "'key 50'", "allofthem": "true"}, arguments{"key": "'key 50'"}, arguments{"allofthem": "true"}),
	"KeyCountUnknown": plan{}.often(),
	"KeyPrune":        with(arguments{"changedbefore": monthAgo, "most": "1000"}, arguments{"changedbefore": "now() - interval '90 days'", "most": "1000"}),

	"IncidentRaise":        with(arguments{"id": "id('new', 1)", "severity": "'failing'", "source": "'health'"}),
	"IncidentInsert":       with(arguments{"id": "id('new', 1)", "severity": "'failing'", "source": "'nats'"}),
	"IncidentResolve":      row("incident"),
	"IncidentClear":        with(arguments{"source": "'health'"}),
	"IncidentSignalInsert": with(arguments{"incidentid": "id('incident', 50)", "source": "'health'", "severity": "''"}),
	"IncidentGet":          row("incident"),
	"IncidentGetOpen":      {},
	"IncidentList":         list("id('incident', 30000)", arguments{"openonly": "true"}),
	"IncidentTimeline":     row("incident"),
	"IncidentPrune":        with(arguments{"closedbefore": monthAgo, "most": "1000"}),
	"IncidentForgotten":    with(arguments{"silentsince": "now()"}).often(),

	"IntegrationInsert": {}, "IntegrationGet": with(arguments{"id": small}).often(), "IntegrationGetByName": {}, "IntegrationLock": with(arguments{"id": small}), "IntegrationList": {},
	"IntegrationNames": with(arguments{"ids": "array[" + small + "]"}), "IntegrationUpdate": with(arguments{"id": small}), "IntegrationTouch": with(arguments{"id": small}), "IntegrationTell": {},
	"IntegrationSetStatus": with(arguments{"id": small, "status": "'active'"}), "IntegrationDelete": with(arguments{"id": small}), "IntegrationSetNextSync": with(arguments{"id": small}),
	"IntegrationClaimDue": with(nil, arguments{"now": "now() + interval '2 hours'"}).often(), "IntegrationSetNextSyncMany": with(arguments{"ids": "array[" + small + "]"}).often(),
	"IntegrationMoveCursor": with(arguments{"id": small}), "IntegrationSynced": with(arguments{"id": small}), "IntegrationMarkStale": plan{}.often(),
	"IntegrationClearStale": with(arguments{"id": small}), "IntegrationVersions": with(arguments{"ids": "array[" + small + "]"}).often(), "IntegrationSetRate": with(arguments{"id": small}),
	"IntegrationSetCircuit": with(arguments{"id": small, "circuitoverride": "'disabled'"}), "IntegrationOverridesEnded": plan{}.often(),

	"TimesBringForward": with(arguments{"ahead": "interval '1 day'", "edge": "now() + interval '12 hours'"}).touching(100_000), // after a clock has gone back, which is rare

	"MappingEnsure": plan{}.often(), "MappingRemap": {}, "MappingRelease": {},
	"MappingResolve": with(arguments{"externalids": "'{2,4,6}'"}).often(), "MappingFind": with(arguments{"internalids": "'{2,4,6}'"}).often(),

	"CommitBarrier": {},
	"GrantGet":      with(arguments{"id": small}), "GrantUnadopted": plan{}.often(), "GrantAdopt": with(arguments{"state": "'connected'"}), "GrantConnect": {}, "GrantDue": plan{}.often(), "GrantTakeDue": plan{}.often(), "GrantTake": {},
	"GrantRenew":     with(arguments{"ids": "array[" + small + "]", "fences": "'{1}'"}),
	"GrantRefreshed": {}, "GrantKept": {}, "GrantFailed": {}, "GrantReleased": {}, "GrantEnd": with(arguments{"state": "'revoked'"}), "GrantStray": plan{}.often(), "GrantMeasure": plan{}.often(),

	"RevocationInsert": {}, "RevocationTakeDue": plan{}.often(), "RevocationPutOff": {}, "RevocationDelete": {}, "RevocationStale": {}, "RevocationReseal": {},
	"StateInsert": {}, "StateConsume": {}, "StateForget": {},
	"LinkOpen": {}, "LinkDone": {scans: "oauth_links"}, "LinkForget": {scans: "oauth_links"},

	"OperationInsertMany": with(arguments{"directions": "'{inbound}'", "statuses": "'{succeeded}'", "details": "array['{}'::jsonb]"}),
	// It counts what an integration did in a time, which is what it reads.
	"OperationCount": with(arguments{"since": "now() - interval '1 hour'"}),
	"OperationPrune": with(arguments{"endedbefore": monthAgo, "most": "1000"}),

	"OutboxInsertMany": {},
	"OutboxClaim":      with(arguments{"away": "'{}'"}, arguments{"away": "'{items}'"}).often(),
	"OutboxBehind": with(arguments{
		"ids": "array[id('outbox', 5), id('outbox', 6)]", "subjects": "array['subject 5', 'subject 6']", "newest": "id('outbox', 6)",
	}).often().scanning("outbox"), // without statistics; with them it reads what is older than a page
	"OutboxDelete": with(arguments{"ids": "array[id('outbox', 5), id('outbox', 6)]"}).often(),
	"OutboxLag":    plan{}.scanning("outbox"), // it counts what waits
	"OutboxDrop":   row("outbox"),
	"OutboxHasDue": with(arguments{"subject": "'subject 9000'"}, arguments{"subject": "'none'"}).often(),
	"MarkGet":      plan{}.scanning("mark"), "MarkBegin": {}, "MarkMove": plan{}.scanning("mark"),
	"CommandDone":   {},
	"CommandDoneAt": with(arguments{"ids": "'{TRIBUTARY_COMMANDS/5,rejected/TRIBUTARY_COMMANDS/5}'"}).often(),
	"CommandForget": with(arguments{"donebefore": monthAgo}).often(),

	"RecordUpsertMany": with(arguments{"payloads": "'{\"{}\"}'", "eventtypes": "'{shop.Order}'", "externalids": "'{50}'"}).often(),
	// It counts what an integration has, which is what it reads.
	"RecordCount": with(arguments{"integrationid": small}),
	"RecordGet":   {},

	"RequestCountAdd":       plan{}.often(),
	"RequestCountSum":       with(arguments{"since": monthAgo}),
	"RequestCountMarkRates": with(arguments{"since": "now() - interval '5 minutes'"}).often().reading(20_000), // the minutes of every integration
	"RequestCountPrune":     with(arguments{"minutesbefore": "now() - interval '1 day'", "hoursbefore": monthAgo, "most": "1000"}, arguments{"minutesbefore": "now() - interval '1 day'", "hoursbefore": "now() - interval '9 years'", "most": "1000"}),

	"RequestPartition": with(arguments{"dayof": "current_date", "day": "current_date"}), "RequestPartitionDays": {}, "RequestPartitionDrop": {},
	"RequestInsertMany": with(arguments{"failureclasses": "'{upstream}'"}),
	"RequestGet":        row("request"),
	"RequestAttempts":   with(arguments{"firstid": "id('request', 50)"}),
	"RequestList":       list("id('request', 30000)", arguments{"runid": "id('run', 50)"}, arguments{"idempotencykey": "'key'"}, arguments{"since": monthAgo}, arguments{"since": "now() - interval '1 hour'"}),

	"AuditList":   list("id('audit', 30000)"),
	"AuditForget": with(arguments{"before": monthAgo, "most": "1000"}),

	"RunInsertMany":       with(arguments{"mode": "'full'", "cause": "'command'", "ids": "array[id('new', 1)]", "integrationids": "array[" + small + "]"}).often(),
	"RunGet":              row("run").often(),
	"RunLock":             row("run"),
	"RunShare":            row("run").often(),
	"RunGetOpen":          {},
	"RunLockOpen":         {},
	"RunList":             list("id('run', 30000)", arguments{"openonly": "true"}),
	"RunStartAttempt":     row("run").often(),
	"RunHeartbeat":        row("run").often(),
	"RunAccepts":          row("run").often(),
	"RunWait":             row("run"),
	"RunWorking":          row("run"),
	"RunHold":             row("run"),
	"RunWaitingDue":       with(nil, arguments{"now": "now() + interval '2 hours'"}).often(),
	"RunStartedBefore":    with(arguments{"moment": "now()"}),
	"RunSilent":           with(arguments{"silentsince": "now()"}).often(),
	"RunWake":             row("run"),
	"RunTouch":            row("run"),
	"RunFollowUp":         with(arguments{"id": "id('run', 50)", "mode": "'full'"}),
	"RunFollowUpSince":    row("run"),
	"RunSetCursorFrom":    row("run"),
	"RunClose":            with(arguments{"id": "id('run', 50)", "state": "'succeeded'", "resolution": "''"}).often(),
	"RunLost":             row("run"),
	"RunResolve":          with(arguments{"id": "id('run', 50)", "resolution": "'resolved'"}),
	"RunSupersede":        with(arguments{"id": "id('run', 50)"}),
	"RunResolvable":       plan{}.often(),
	"RunResolvableNow":    row("run"),
	"RunWithEntries":      with(arguments{"closedbefore": "now()", "afterclosed": "now() - interval '400 days'", "afterid": "id('run', 7)"}).often(),
	"RunEntriesFreed":     row("run"),
	"RunIntegrations":     with(arguments{"ids": "array[id('run', 7), id('run', 8)]"}).often(),
	"RunOpenIDs":          plan{}.often(),
	"RunCountOpen":        plan{}.often(),
	"ReceiptAddMany":      with(arguments{"runids": "array[id('run', 50)]", "attempts": "'{1}'", "batches": "'{1}'", "dones": "array[repeat('00', 64)]"}).often(),
	"ReceiptList":         with(arguments{"runid": "id('run', 7)"}),
	"ReceiptDelete":       with(arguments{"runid": "id('run', 7)"}),
	"RunCheckpointList":   with(arguments{"runid": "id('run', 7)"}),
	"RunCheckpointDelete": with(arguments{"runids": "array[id('run', 7)]"}),
	"RunSetReduceFailed":  with(arguments{"id": "null"}, arguments{"id": "id('run', 7)"}),
	"RunPrune":            with(arguments{"closedbefore": monthAgo, "most": "1000"}, arguments{"closedbefore": "now() - interval '90 days'", "most": "1000"}),

	// What is set aside is little, and these are about it alone.
	"SetAsideOfKind": plan{}.often(), "SetAsideFail": with(arguments{"waits": "'{00:00:02}'"}), "SetAsideDone": {}, "SetAsideGet": {}, "SetAsideList": {}, "SetAsideRetry": {},
	"SetAsideDrop": {}, "SetAsideCount": plan{}.often(), "SetAsideForget": {},

	"WebhookInsertMany":  with(arguments{"hashwindow": "interval '1 hour'", "integrationids": "array[" + large + "]", "deliveryids": "'{50}'", "headers": "'{\"{}\"}'"}).often(),
	"WebhookSourceTouch": with(arguments{"integrationids": "array[" + small + "]", "receivedats": "array[now()]"}).often(),
	"WebhookMarkSilent":  plan{}.often(),
	"WebhookClaim": with(arguments{"suspects": "false", "settled": "1000000000", "suspectafter": "2", "most": "64"}, arguments{"suspects": "true", "settled": "1000000000", "suspectafter": "2", "most": "64"}).
		often().using("webhooks_ordered").reading(9_000).touching(60_000), // the whole backlog, and the head of each key
	"WebhookStored":     with(arguments{"ids": "array[id('webhook', 5)]"}).often(),
	"WebhookRenew":      with(arguments{"ids": "array[id('webhook', 5)]"}).often(),
	"WebhookFinishMany": with(arguments{"ids": "array[id('webhook', 5)]"}).often(),
	"WebhookReplay":     with(arguments{"id": "null", "failedonly": "true", "since": "null", "until": "null"}, arguments{"id": "id('webhook', 5)", "failedonly": "false", "since": "null", "until": "null"}),
	"WebhookSkip":       row("webhook"),
	"WebhookLost":       row("webhook"),
	"WebhookGet":        row("webhook"),
	"WebhookList":       list("id('webhook', 30000)", arguments{"status": "'failed'"}, arguments{"status": "'pending'"}, arguments{"status": "'skipped'"}, arguments{"status": "''"}),
	"WebhookCount":      {},
	"WebhookBehind":     with(arguments{"ids": "array[id('webhook', 30000)]"}),
	"WaitsEnd":          {}, "WaitsEndedDue": plan{}.often().scanning("waits_ended"), "WaitsEndedPassed": plan{}.scanning("waits_ended"), "WaitsEndedDone": plan{}.scanning("waits_ended"), "RunEndWaits": with(arguments{"integrationid": small, "cause": "'any'"}),
	"WaitsEndForHandlers":     {},
	"IntegrationsThatMayWait": {},
	"WebhookEndWaits":         with(arguments{"integrationid": large, "cause": "'any'"}),
	"WebhookPrune":            with(arguments{"receivedbefore": monthAgo, "most": "1000"}),
}
