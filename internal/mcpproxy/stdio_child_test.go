//go:build unix

package mcpproxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"rutile/internal/mcpproxy"
)

// The environment of a child: its part and where it leaves notes.
const (
	childPart  = "RUTILE_TEST_CHILD"
	childNotes = "RUTILE_TEST_NOTES"
	// childSecret is what no log may hold.
	childSecret = "s3cr3t-in-the-environment"
)

// childEnv is the environment that makes the test binary play a part. Without
// the setting the race detector makes the end of every process take a second.
func childEnv(part string) map[string]string {
	return map[string]string{childPart: part, "GORACE": "atexit_sleep_ms=0"}
}

func playChild(part string) {
	switch part {
	case "echo":
		childEcho()
	case "env":
		dir, _ := os.Getwd()
		line, _ := json.Marshal(map[string]any{"env": os.Environ(), "dir": dir, "args": os.Args[1:]})
		fmt.Printf("%s\n", line)
		childEcho()
	case "chatter": // two strikes, and lines that are none
		fmt.Print("Server listening\n\n  \r\n{\"n\":1}\n[{\"n\":2}]\n{\"n\":3}\r\n")
		childEcho()
	case "noise":
		fmt.Print("one\n{\"n\":1}\n{\"a\":1,\"a\":2}\n{\"n\":2}\n\"three\"\n{\"n\":3}\n")
		childEcho()
	case "long":
		fmt.Printf("{\"s\":\"%s\"}\n{\"n\":1}\n", strings.Repeat("x", 8192))
		childEcho()
	case "endless":
		for block := bytes.Repeat([]byte("x"), 4096); ; {
			if _, err := os.Stdout.Write(block); err != nil {
				return
			}
		}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		fmt.Println(`{"ready":true}`)
		time.Sleep(time.Minute)
	case "polite":
		stopped := make(chan os.Signal, 1)
		signal.Notify(stopped, syscall.SIGTERM)
		fmt.Println(`{"ready":true}`)
		<-stopped
		_ = os.WriteFile(os.Getenv(childNotes), []byte("terminated"), 0o600)
	case "family", "orphan", "escape":
		childFamily(part)
	case "half":
		fmt.Print("{\"n\":1}\n{\"unfinished\":")
		fmt.Fprintf(os.Stderr, "first\npanic: %s is bad\x1b[31m\n", childSecret)
		os.Exit(3)
	case "errors":
		// The cut goes through a secret: once behind much text, and once where
		// scrubbing leaves little of what was before it.
		fmt.Fprintf(os.Stderr, "token=%s\n%s%s\n%s\nlast\n", childSecret,
			strings.Repeat("y", 12<<10-10), childSecret, strings.Repeat(childSecret, 600))
		childEcho()
	case "deaf":
		fmt.Println(`{"ready":true}`)
		time.Sleep(time.Minute)
	case "late":
		fmt.Println(`{"ready":true}`)
		for { // reads nothing before the note is there
			if _, err := os.Stat(os.Getenv(childNotes)); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		childEcho()
	case "flood":
		childFlood()
	case "mute":
		_ = os.Stdout.Close()
		time.Sleep(time.Minute)
	case "answers":
		for i := range 200 {
			fmt.Printf("{\"n\":%d}\n", i)
		}
	case "gateway":
		childGateway()
	default:
		fmt.Fprintln(os.Stderr, "unknown part", part)
		os.Exit(2)
	}
}

func childEcho() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		if _, err := os.Stdout.Write(line); err != nil {
			return
		}
	}
}

// childFamily starts a grandchild that ignores SIGTERM and tells its id.
func childFamily(part string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{childPart + "=stubborn"}
	if part == "escape" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fmt.Printf("{\"pid\":%d}\n", cmd.Process.Pid)
	if part == "family" {
		childEcho()
	}
}

// childFlood writes messages of 1 KiB and notes how many.
func childFlood() {
	pad := strings.Repeat("z", 1000)
	for i := 0; ; i++ {
		if _, err := fmt.Printf("{\"n\":%d,\"pad\":\"%s\"}\n", i, pad); err != nil {
			return
		}
		if err := os.WriteFile(os.Getenv(childNotes), fmt.Appendf(nil, "%d", i+1), 0o600); err != nil {
			os.Exit(2)
		}
	}
}

// childGateway is a gateway with one server process, to be killed.
func childGateway() {
	p, err := mcpproxy.StartStdio(context.Background(), mcpproxy.StdioConfig{
		Command: os.Args[0], Env: childEnv("stubborn"), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	<-p.Messages()
	fmt.Println(`{"ready":true}`)
	time.Sleep(time.Minute)
}
