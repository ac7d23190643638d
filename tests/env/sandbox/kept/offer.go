// Package kept is how a program that keeps a sandbox open offers it to one test of another process. The offer is a file. A test
// takes it at a socket in the sandbox's directory, and the connection is its lease: the kernel closes it when either of the two
// processes dies. No file of a keeper that was killed can be mistaken for an offer, because its socket does not answer. The
// package imports the standard library alone.
package kept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/upcommerce/backout/tests/env/programs"
)

// Environment is the variable that names the Place whose sandbox a test may take. Without it, each test opens its own.
const Environment = "SANDBOX_KEPT"

// Mark begins the lines in the log of a test that say whether it has a kept sandbox: Used, or why not.
const (
	Mark = "kept control plane: "
	Used = "used"
)

// errNone is the error about a place without an offer.
var errNone = errors.New("none is ready; make sandbox keeps one")

// Place is the directory of one keeper: its lock, and its offer.
type Place string

// Usual is the place of make sandbox.
func Usual() (Place, error) {
	root, err := programs.Repository()
	return Place(filepath.Join(root, "tests", ".bin", "kept")), err
}

// Offer describes an open sandbox.
type Offer struct {
	// Dir is the sandbox's directory.
	Dir string `json:"dir"`
	// Build is the BuildID of the program that runs in it.
	Build string `json:"build"`
	// APIServer is the path of a ready-made kube-apiserver; "": the program's own.
	APIServer string `json:"apiServer,omitempty"`
}

// Accepts returns an error that says what to do if a test that needs such a sandbox cannot use the offered one. Dir is ignored.
func (o Offer) Accepts(want Offer) error {
	switch {
	case o.APIServer != want.APIServer:
		return errors.New("it has another API server: start make sandbox with the KUBEBUILDER_ASSETS of the tests")
	case o.Build != want.Build:
		return errors.New("it is of an older build: end make sandbox and start it again")
	}
	return nil
}

// socket is where the offer can be taken. It goes with the sandbox's directory.
func (o Offer) socket() string { return filepath.Join(o.Dir, "offer") }

func (p Place) offer() string { return filepath.Join(string(p), "ready.json") }

// Read returns the offer, which may be of a keeper that was killed: Take notices.
func (p Place) Read() (Offer, error) {
	var o Offer
	b, err := os.ReadFile(p.offer())
	if errors.Is(err, fs.ErrNotExist) {
		return Offer{}, errNone
	}
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		return Offer{}, fmt.Errorf("read the offer of make sandbox: %w", err)
	}
	return o, nil
}

// write publishes an offer. Readers see it whole.
func (p Place) write(o Offer) error {
	b, err := json.Marshal(o)
	if err == nil {
		err = os.WriteFile(p.offer()+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(p.offer()+".new", p.offer())
	}
	if err != nil {
		return fmt.Errorf("write the offer of a sandbox: %w", err)
	}
	return nil
}

// withdraw removes the offer.
func (p Place) withdraw() error {
	if err := os.Remove(p.offer()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("withdraw the offer of a sandbox: %w", err)
	}
	return nil
}
