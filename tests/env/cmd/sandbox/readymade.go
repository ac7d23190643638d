//go:build readymade

package main

import (
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/sandbox/controlplane"
)

// apiServer returns the kube-apiserver that the settings name: this program has none of its own.
func apiServer(s sandbox.Settings, starter controlplane.Starter) controlplane.Component {
	return controlplane.ReadyMade(s.APIServer, starter)
}

func apiGroups() []string        { return []string{"those of the ready-made API server"} }
func admissionPlugins() []string { return []string{"those of the ready-made API server"} }
