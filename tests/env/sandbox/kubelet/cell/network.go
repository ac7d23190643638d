package cell

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bridge connects the networks of cells. It may be used concurrently.
type Bridge struct {
	name    string
	address netip.Prefix

	mu    sync.Mutex
	last  netip.Addr
	links int
}

// NewBridge uses a bridge that exists in the network namespace of the process. address is the bridge's own address with the
// length of its network, from which cells get their addresses: those above the bridge's, in order, none twice.
func NewBridge(name string, address netip.Prefix) *Bridge {
	return &Bridge{name: name, address: address, last: address.Addr()}
}

// Address is the bridge's own address, the gateway of every cell.
func (b *Bridge) Address() netip.Addr { return b.address.Addr() }

// Network is the network of a cell: a network namespace with the loopback interface and an interface to the bridge.
type Network struct {
	// Address is reachable from the namespace of the bridge and from every other cell.
	Address netip.Addr

	namespace *os.File
	link      string // the interface at the bridge's end
}

// Attach makes a network namespace and connects it to the bridge.
func (b *Bridge) Attach() (*Network, error) {
	n, err := b.next()
	if err != nil {
		return nil, err
	}
	n.namespace, err = onOwnThread(func() (*os.File, error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return nil, fmt.Errorf("make a network namespace: %w", err)
		}
		return openNamespace("net")
	})
	if err != nil {
		return nil, err
	}
	if err := b.connect(n); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// next chooses the address and the interface name of the next network.
func (b *Bridge) next() (*Network, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = b.last.Next()
	// The last address of a network is its broadcast address.
	if !b.address.Contains(b.last.Next()) {
		return nil, fmt.Errorf("find an address in %s: all have been used", b.address.Masked())
	}
	b.links++
	return &Network{Address: b.last, link: "pod" + strconv.Itoa(b.links)}, nil
}

// connect creates a veth pair between the bridge and the namespace, and configures both ends.
func (b *Bridge) connect(n *Network) error {
	bridge, err := netlink.LinkByName(b.name)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", b.name, err)
	}
	near := netlink.NewLinkAttrs()
	near.Name, near.MasterIndex = n.link, bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: near, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(n.namespace.Fd()))}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("connect a network namespace to bridge %s: %w", b.name, err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return fmt.Errorf("bring interface %s up: %w", n.link, err)
	}
	_, err = onOwnThread(func() (struct{}, error) {
		if err := enter(n.namespace, unix.CLONE_NEWNET); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, b.configure(n.Address)
	})
	return err
}

// configure sets up the interfaces in the namespace of the calling thread.
func (b *Bridge) configure(own netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find the interface eth0: %w", err)
	}
	mask := net.CIDRMask(b.address.Bits(), b.address.Addr().BitLen())
	address := &netlink.Addr{IPNet: &net.IPNet{IP: own.AsSlice(), Mask: mask}}
	for _, step := range []func() error{
		func() error { return netlink.LinkSetUp(lo) },
		func() error { return netlink.AddrAdd(eth0, address) },
		func() error { return netlink.LinkSetUp(eth0) },
		func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: b.address.Addr().AsSlice()})
		},
	} {
		if err := step(); err != nil {
			return fmt.Errorf("configure the network of %s: %w", own, err)
		}
	}
	return nil
}

// Close disconnects the network. The namespace ends with its last process.
func (n *Network) Close() error {
	var errs []error
	if link, err := netlink.LinkByName(n.link); err == nil {
		errs = append(errs, netlink.LinkDel(link))
	}
	if err := errors.Join(append(errs, n.namespace.Close())...); err != nil {
		return fmt.Errorf("disconnect the network of %s: %w", n.Address, err)
	}
	return nil
}
