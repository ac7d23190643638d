package inside

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace is set for the process that this test starts in a network namespace.
const inNamespace = "IN_NETWORK_NAMESPACE"

// inNetworkNamespace runs the calling test in a process of its own, in a new network namespace. Users other than root need a user
// namespace for that, as a sandbox does.
func inNetworkNamespace(t *testing.T) {
	t.Helper()
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), inNamespace+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		again.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The bridge keeps its hardware address, whichever ports it has.
func TestTheBridgeKeepsItsAddress(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		inNetworkNamespace(t)
		return
	}
	if err := SetUpNetwork("10.244.0.1/16"); err != nil {
		t.Fatal(err)
	}
	bridge, err := netlink.LinkByName(BridgeName)
	if err != nil {
		t.Fatal(err)
	}
	port := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "peer"}
	port.Name, port.MasterIndex, port.HardwareAddr = "port", bridge.Attrs().Index, net.HardwareAddr{2, 0, 0, 0, 0, 1}
	if err := errors.Join(netlink.LinkAdd(port), netlink.LinkSetUp(port)); err != nil {
		t.Fatal(err)
	}
	after, err := netlink.LinkByName(BridgeName)
	if err != nil {
		t.Fatal(err)
	}
	if was, is := bridge.Attrs().HardwareAddr.String(), after.Attrs().HardwareAddr.String(); is != was {
		t.Errorf("the bridge's address is %s with a port of a lower one, and was %s without", is, was)
	}
}
