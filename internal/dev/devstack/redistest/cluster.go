package redistest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack"
)

// The user of a Cluster, whose servers have a password each besides.
const (
	clusterUser     = "tests"
	clusterPassword = "cluster"
)

// failoverAfter is after how many milliseconds of silence the servers of a Cluster
// take one of them for lost.
const failoverAfter = "1000"

// Cluster is a Redis Cluster for one test: masters that share the slots, each with a
// replica where there are any.
type Cluster struct {
	// URL names all of its servers.
	URL     string
	servers []*devstack.Redis
	clients []*redis.Client
}

// StartCluster starts so many masters, and as many replicas or none. It is skipped
// where only the stand-in is there.
func StartCluster(t testing.TB, masters, replicas int) *Cluster {
	t.Helper()
	c := new(Cluster)
	var hosts, buses []string
	for range masters + replicas {
		folder, bus := openFolder(t), freePort(t)
		server, err := devstack.StartRedis(t.Context(), devstack.Config{RedisSettings: []string{
			"dir " + folder, "cluster-enabled yes", "cluster-node-timeout " + failoverAfter, "cluster-port " + bus,
			"user " + clusterUser + " on >" + clusterPassword + " ~* &* +@all",
			"masteruser " + clusterUser, "masterauth " + clusterPassword,
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Stop() })
		if server.Simulated {
			if os.Getenv("CI") != "" {
				t.Fatal("CI tests against a real Redis: run `apt-get install redis-server`")
			}
			t.Skip("the stand-in is no Cluster")
		}
		options, err := redis.ParseURL(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(options)
		t.Cleanup(func() { _ = client.Close() })
		c.servers, c.clients = append(c.servers, server), append(c.clients, client)
		hosts, buses = append(hosts, options.Addr), append(buses, bus)
	}
	c.URL = fmt.Sprintf("redis://%s:%s@%s?addr=%s", clusterUser, clusterPassword, hosts[0], strings.Join(hosts[1:], "&addr="))
	c.join(t, masters, hosts, buses)
	return c
}

// join makes the servers one Cluster.
func (c *Cluster) join(t testing.TB, masters int, hosts, buses []string) {
	t.Helper()
	const slots = 16384
	for i, client := range c.clients {
		if i > 0 {
			_, port, _ := net.SplitHostPort(hosts[0])
			must(t, client.Do(t.Context(), "CLUSTER", "MEET", "127.0.0.1", port, buses[0]).Err())
		}
		if i < masters {
			must(t, client.ClusterAddSlotsRange(t.Context(), slots*i/masters, slots*(i+1)/masters-1).Err())
		}
	}
	until(t, "the servers know each other", func() bool { return c.all(t, fmt.Sprintf("cluster_known_nodes:%d\r", len(hosts))) })
	for i := masters; i < len(c.clients); i++ {
		id, err := c.clients[i-masters].Do(t.Context(), "CLUSTER", "MYID").Text()
		must(t, err)
		until(t, "a server becomes a replica", func() bool { return c.clients[i].ClusterReplicate(t.Context(), id).Err() == nil })
	}
	until(t, "the Cluster works", func() bool { return c.all(t, "cluster_state:ok") })
	for i := masters; i < len(c.clients); i++ {
		until(t, "a replica is in step", func() bool {
			return strings.Contains(c.clients[i].Info(t.Context(), "replication").Val(), "master_link_status:up")
		})
	}
}

func (c *Cluster) all(t testing.TB, want string) bool {
	for _, client := range c.clients {
		if !strings.Contains(client.ClusterInfo(t.Context()).Val(), want) {
			return false
		}
	}
	return true
}

// MasterOf is the number of the master that keeps a key: every other server names it
// instead of answering.
func (c *Cluster) MasterOf(t testing.TB, key string) int {
	t.Helper()
	for i, client := range c.clients {
		if client.Exists(t.Context(), key).Err() == nil {
			return i
		}
	}
	t.Fatalf("no master keeps %s", key)
	return 0
}

// Replicate waits until the replica of the master that keeps a key has all that was
// written before. Replication is asynchronous: what a master alone has is lost with it.
func (c *Cluster) Replicate(t testing.TB, key string) {
	t.Helper()
	conn := c.clients[c.MasterOf(t, key)].Conn()
	defer func() { _ = conn.Close() }()
	other := "{" + key + "}" // in the same slot
	if strings.Contains(key, "{") {
		other = "replicate:" + key
	}
	// WAIT waits for what its own connection has written.
	must(t, conn.Set(t.Context(), other, "", time.Minute).Err())
	must(t, conn.Wait(t.Context(), 1, 0).Err())
}

// Stop ends a server.
func (c *Cluster) Stop(t testing.TB, i int) {
	t.Helper()
	must(t, c.servers[i].Stop())
}

// Resume starts a server again, without its keys.
func (c *Cluster) Resume(t testing.TB, i int) {
	t.Helper()
	must(t, c.servers[i].Resume(t.Context()))
}

// openFolder is a folder that the user of the servers can write.
func openFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "redis-cluster-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	must(t, os.Chmod(folder, 0o777))
	return folder
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = listener.Close() }()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

// Freeze has a server stand still, as a machine that is cut off, until the test ends.
func (c *Cluster) Freeze(t testing.TB, i int) {
	t.Helper()
	var pid int
	_, line, _ := strings.Cut(c.clients[i].Info(t.Context(), "server").Val(), "process_id:")
	_, err := fmt.Sscan(line, &pid)
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}
