//go:build !readymade

package main

import (
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
	"github.com/upcommerce/backout/tests/env/sandbox/controlplane/apiserver"
)

// apiServer returns the API server that is linked into this program.
func apiServer(sandbox.Settings, controlplane.Starter) controlplane.Component { return apiserver.Run }

func apiGroups() []string        { return apiserver.Groups() }
func admissionPlugins() []string { return apiserver.Plugins() }
