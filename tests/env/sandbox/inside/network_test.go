package inside

import (
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The bridge keeps its hardware address, whichever ports it has.
func TestTheBridgeKeepsItsAddress(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, in the namespace that it made
	if err := unix.Unshare(unix.CLONE_NEWNET); errors.Is(err, unix.EPERM) {
		t.Skip("only root may make a network namespace")
	} else if err != nil {
		t.Fatal(err)
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
