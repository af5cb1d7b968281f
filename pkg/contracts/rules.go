package contracts

// Rules maps a field to its validation tag in the language of go-playground/validator: Rules{"token": "required,min=20"}.
// Fields are named as in JSON; a rule for a field of an object is written with a dot ("owner.email").
type Rules map[string]string
