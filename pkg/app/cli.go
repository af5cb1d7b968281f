package app

import "github.com/tributaryhq/tributary/internal/cli"

func (p *program) cliEnv() *cli.Env { return &cli.Env{} }
