// Package inside sets up new namespaces: network, mounts, and the duties of process 1.
package inside

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// BridgeName is the bridge that carries the pod network.
const BridgeName = "pods"

// SetUpNetwork brings the loopback interface up and makes a bridge with the given address, "10.244.0.1/16". Everything inside
// that is not a pod listens on the bridge's address, including the API server.
func SetUpNetwork(address string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = BridgeName
	a, err := netlink.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("parse the bridge's address: %w", err)
	}
	// A bridge without a hardware address of its own takes the lowest one of its ports. That changes as pods come and go, and then pods
	// send to the old one for up to half a minute: their probes fail, and their connections stand still.
	bridge.HardwareAddr = append(net.HardwareAddr{0x0a, 0x58}, a.IP.To4()...)
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add bridge %s: %w", BridgeName, err)
	}
	if err := netlink.AddrAdd(bridge, a); err != nil {
		return fmt.Errorf("give bridge %s the address %s: %w", BridgeName, address, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bring bridge %s up: %w", BridgeName, err)
	}
	return nil
}
