package throttle_test

import (
	"strconv"
	"testing"
	"time"

	"rutile/internal/throttle"
)

func TestMemoryIsBounded(t *testing.T) {
	now := time.Now()
	k := throttle.NewKeyed(throttle.Rate{Burst: 1, Every: time.Second}, func() time.Time { return now })
	for i := range 3 * throttle.MaxKeys {
		if k.Take(strconv.Itoa(i)) != 0 {
			t.Fatalf("key %d waits for another", i)
		}
	}
	if n := k.Len(); n != throttle.MaxKeys {
		t.Errorf("%d keys are remembered, want %d", n, throttle.MaxKeys)
	}
	newest := strconv.Itoa(3*throttle.MaxKeys - 1)
	if k.Take(newest) == 0 {
		t.Error("the newest key was forgotten")
	}
	now = now.Add(-time.Hour) // set back: nobody is locked out for an hour
	if wait := k.Take(newest); wait > time.Second {
		t.Errorf("it waits %v", wait)
	}
}

func TestABurstIsRefilledOneByOne(t *testing.T) {
	now := time.Now()
	k := throttle.NewKeyed(throttle.Rate{Burst: 3, Every: time.Minute}, func() time.Time { return now })
	taken := func() (n int) {
		for k.Take("a") == 0 {
			n++
		}
		return n
	}
	if n := taken(); n != 3 {
		t.Errorf("%d at once", n)
	}
	if wait := k.Take("a"); wait != time.Minute {
		t.Errorf("it waits %v", wait)
	}
	now = now.Add(time.Minute)
	if n := taken(); n != 1 {
		t.Errorf("%d after a minute, though what waited cost nothing", n)
	}
	k.Give("a")
	if n := taken(); n != 1 {
		t.Errorf("%d after one was given back", n)
	}
	now = now.Add(time.Hour)
	if n := taken(); n != 3 {
		t.Errorf("%d after an hour", n)
	}
}

func TestAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:9": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:9": "fe80::/64", "@": "unknown", "": "unknown",
	} {
		if got := throttle.Address(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
