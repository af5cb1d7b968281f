package providertest_test

// webhookFlaws are mistakes in the handling of webhooks.
func webhookFlaws() map[string]string {
	return map[string]string{
		"compares signatures in the time of their likeness": "",
		"accepts every delivery":                            "a delivery is accepted though byte 0 of its body was changed",
		"accepts unsigned deliveries":                       "a delivery is accepted without headers",
		"accepts without a secret":                          "a delivery is accepted by an integration without credentials",
		"signs only the beginning":                          "of its body was changed",
		"verification panics without a signature":           "VerifyWebhookSignature panics",
		"random types of deliveries":                        "the same delivery has the type",
		"handlers for other types":                          "the provider has handlers, but none for the type",
		"constant delivery ids":                             "have the same id",
		"random delivery ids":                               "a second copy would be handled again",
		"empty delivery ids":                                "the delivery's id is empty",
		"one ordering key for all":                          "one that fails holds up all",
		"random ordering keys":                              "has the ordering key",
		"the handler does nothing":                          "dispatches nothing",
		"the handler panics":                                "the handler of the delivery panics",
		"the handler fails":                                 "the handler of the delivery that was given fails",
		"the handler skips everything":                      "dispatches nothing",
		"the handler changes the body":                      "the handler changes the body of the delivery",
		"the handler returns what is not JSON":              "can't be kept as JSON",
		"the handler returns a secret":                      "what the handler returns holds a credential",
		"a handler that expects a note":                     "the handler of a delivery with the body",
		"takes garbled deliveries for done":                 "is handled as if it were done",
		"another id in a webhook":                           "the sync's record and the webhook's are two",
		"another type in a webhook":                         "the sync's record and the webhook's are two",
		"another checkpoint in a webhook":                   "neither knows which version is newer",
		"no checkpoint in a webhook":                        "neither knows which version is newer",
	}
}
