package services

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// dialLimit bounds one connection to an endpoint.
const dialLimit = 10 * time.Second

// claim makes every address of a range local in this network namespace: programs can listen on it, and it refuses connections
// while none does.
func claim(cidr netip.Prefix) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	err = netlink.RouteReplace(&netlink.Route{
		LinkIndex: lo.Attrs().Index,
		Dst:       &net.IPNet{IP: cidr.Masked().Addr().AsSlice(), Mask: net.CIDRMask(cidr.Bits(), cidr.Addr().BitLen())},
		Type:      unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	})
	if err != nil {
		return fmt.Errorf("claim the addresses %s: %w", cidr, err)
	}
	return nil
}

// listener forwards the connections to one address of a Service.
type listener struct {
	net.Listener
	targets atomic.Pointer[[]string]
	count   atomic.Uint64
}

func listen(ctx context.Context, address string, targets []string) (*listener, error) {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on a ClusterIP: %w", err)
	}
	l := &listener{Listener: tcp}
	l.targets.Store(&targets)
	go l.serve(ctx)
	return l, nil
}

func (l *listener) serve(ctx context.Context) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go l.forward(ctx, conn)
	}
}

// forward forwards one connection. When an endpoint refuses it, no other one is tried, as by kube-proxy.
func (l *listener) forward(ctx context.Context, conn net.Conn) {
	targets := *l.targets.Load()
	target := targets[(l.count.Add(1)-1)%uint64(len(targets))]
	d := net.Dialer{Timeout: dialLimit}
	far, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // reset, not an orderly end
		}
		_ = conn.Close()
		return
	}
	control.Splice(conn, far)
}

// close stops listening; open connections stay.
func (l *listener) close() { _ = l.Close() }
