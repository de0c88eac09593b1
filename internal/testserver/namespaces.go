//go:build unix

package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// Link is the way from one server to another, which can fail. What is sent while it is stalled
// comes later; what is sent while it is cut is lost, and whoever connects is refused.
type Link interface {
	Stall()
	Cut()
	Heal()
}

// spaces are network namespaces, one for each server of a cluster, which a bridge of the machine
// connects. Only the machine itself reaches them.
type spaces struct {
	t     testing.TB
	name  string
	net   string // what the addresses begin with
	count int
}

var made atomic.Uint32

// newSpaces makes namespaces, which the end of the test removes. It needs the superuser and
// iproute2.
func newSpaces(t testing.TB, count int) *spaces {
	t.Helper()
	k := made.Add(1)
	s := &spaces{t: t, name: fmt.Sprintf("ev%d-%d", os.Getpid(), k), net: fmt.Sprintf("10.%d.%d.", 64+k%64, os.Getpid()%256), count: count}
	t.Cleanup(s.remove)
	s.ip("link add " + s.name + " type bridge")
	s.ip("addr add " + s.net + "254/24 dev " + s.name)
	s.ip("link set " + s.name + " up")
	for i := range count {
		outside := fmt.Sprintf("%s-%d", s.name, i)
		s.ip("netns add " + s.space(i))
		s.ip("link add " + outside + " type veth peer name inside netns " + s.space(i))
		s.ip("link set " + outside + " master " + s.name + " up")
		s.ip("-n " + s.space(i) + " addr add " + s.host(i) + "/24 dev inside")
		s.ip("-n " + s.space(i) + " link set inside up")
		s.ip("-n " + s.space(i) + " link set lo up")
	}
	return s
}

// space is the name of a server's namespace.
func (s *spaces) space(i int) string { return fmt.Sprintf("%s-%d", s.name, i) }

// host is the address of a server.
func (s *spaces) host(i int) string { return fmt.Sprintf("%s%d", s.net, i+1) }

// within makes a command one that runs in a server's namespace.
func (s *spaces) within(i int, cmd *exec.Cmd) *exec.Cmd {
	in := exec.Command("ip", append([]string{"netns", "exec", s.space(i)}, cmd.Args...)...)
	in.Dir = cmd.Dir
	return in
}

func (s *spaces) remove() {
	for i := range s.count {
		s.ip("netns del " + s.space(i))
	}
	s.ip("link del " + s.name)
}

func (s *spaces) ip(args string) {
	s.t.Helper()
	if said, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		s.t.Errorf("ip %s: %v %s", args, err, said)
	}
}

// route is a Link between two namespaces.
type route struct {
	*spaces
	from, to int
}

// Stall drops all packets: what was sent is sent again until they pass.
func (r *route) Stall() { r.set("replace blackhole ") }

// Cut refuses all packets.
func (r *route) Cut() { r.set("replace unreachable ") }

// Heal undoes both. It may be called without them.
func (r *route) Heal() {
	r.set("replace unreachable ") // so that there is something to remove
	r.set("del ")
}

func (r *route) set(what string) {
	r.ip("-n " + r.space(r.from) + " route " + what + r.host(r.to) + "/32")
}
