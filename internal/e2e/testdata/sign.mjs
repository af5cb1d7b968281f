// Signs the payloads of @octokit/webhooks-examples as their senders' own libraries do, one JSON object a line.
import { createRequire } from "node:module";
import { sign } from "@octokit/webhooks-methods";
import Stripe from "stripe";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const examples = createRequire(import.meta.url)("@octokit/webhooks-examples");
const secret = process.argv[2];
const key = "whsec_" + Buffer.from(secret).toString("base64");
const print = (scheme, event, header, body) => console.log(JSON.stringify({ scheme, event, header, body }));
for (const { name, examples: payloads } of (examples.default ?? examples)) {
  for (const payload of payloads) {
    const body = JSON.stringify(payload);
    print("github", name, { "X-Hub-Signature-256": await sign(secret, body) }, body);
    print("stripe", name, { "Stripe-Signature": Stripe.webhooks.generateTestHeaderString({ payload: body, secret }) }, body);
    const at = new Date();
    const seconds = String(Math.floor(at.getTime() / 1000));
    print("standard", name, { "Webhook-Id": "msg_1", "Webhook-Timestamp": seconds, "Webhook-Signature": new Standard(key).sign("msg_1", at, body) }, body);
    print("svix", name, { "Svix-Id": "msg_1", "Svix-Timestamp": seconds, "Svix-Signature": new Svix(key).sign("msg_1", at, body) }, body);
  }
}
