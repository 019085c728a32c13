// The gopacket peer, speaking the protocol of drain.c, receive.c and transmit.c:
// gopacket-peer drain|receive|transmit NAME [name=value ...]. Zero-copy reads.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/gopacket/afpacket"
	"golang.org/x/sys/unix"
)

var frames, bytes, check uint64

func argument(name, fallback string) string {
	for _, word := range os.Args[1:] {
		if strings.HasPrefix(word, name+"=") {
			return word[len(name)+1:]
		}
	}
	return fallback
}

func number(name string) int {
	value, err := strconv.Atoi(argument(name, "0"))
	if err != nil {
		panic(err)
	}
	return value
}

func cpuNs() uint64 {
	var usage unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return uint64(usage.Utime.Nano() + usage.Stime.Nano())
}

func open() *afpacket.TPacket {
	options := []interface{}{
		afpacket.OptInterface(argument("device", "lo")),
		afpacket.OptPollTimeout(200 * time.Millisecond),
		afpacket.TPacketVersion3,
	}
	if ring := number("ring"); ring > 0 {
		block := 1 << 18 // as libpcap
		options = append(options, afpacket.OptFrameSize(2048), afpacket.OptBlockSize(block),
			afpacket.OptNumBlocks(ring/block))
	}
	if retire := number("retire"); retire > 0 {
		options = append(options, afpacket.OptBlockTimeout(time.Duration(retire)*time.Millisecond))
	}
	handle, err := afpacket.NewTPacket(options...)
	if err != nil {
		panic(err)
	}
	return handle
}

// take reads one frame; the work on it is the same as every other peer's.
func take(handle *afpacket.TPacket, work time.Duration) bool {
	data, info, err := handle.ZeroCopyReadPacketData()
	if err != nil {
		return false
	}
	check += binary.LittleEndian.Uint64(data) ^ uint64(info.Timestamp.UnixNano())
	bytes += uint64(info.Length)
	frames++
	if work > 0 {
		for start := time.Now(); time.Since(start) < work; {
		}
	}
	return true
}

func drain(handle *afpacket.TPacket) {
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var wanted uint64
		fmt.Sscanf(input.Text(), "go %d", &wanted)
		frames, bytes = 0, 0
		runtime.GC() // not inside the measurement
		start := time.Now()
		for frames < wanted && (take(handle, 0) || time.Since(start) < 3*time.Second) {
		}
		fmt.Printf("{\"frames\":%d,\"ns\":%.4f,\"idle\":0,\"bytes\":%d,\"check\":%d}\n", frames,
			float64(time.Since(start).Nanoseconds())/float64(frames), bytes, check&0xff)
	}
}

func receive(handle *afpacket.TPacket) {
	var stopping int32
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() { <-signals; atomic.StoreInt32(&stopping, 1) }()
	work := time.Duration(number("work"))
	waits, cpu := 0, cpuNs()
	for atomic.LoadInt32(&stopping) == 0 {
		if !take(handle, work) {
			waits++
		}
	}
	cpu = cpuNs() - cpu
	_, stats, err := handle.SocketStats()
	if err != nil {
		panic(err)
	}
	fmt.Printf("{\"frames\":%d,\"cpu_ns\":%d,\"waits\":%d,\"received\":%d,\"dropped\":%d,\"bytes\":%d,\"check\":%d}\n",
		frames, cpu, waits, stats.Packets(), stats.Drops(), bytes, check&0xff)
}

func transmit(handle *afpacket.TPacket) {
	frame := make([]byte, number("size"))
	copy(frame, []byte{2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1, 8, 0, 0x45})
	count, sent, cpu, start := number("count"), 0, cpuNs(), time.Now()
	for sent < count && time.Since(start) < 20*time.Second {
		if handle.WritePacketData(frame) == nil {
			sent++
		}
	}
	fmt.Printf("{\"sent\":%d,\"calls\":%d,\"cpu_ns\":%d,\"wall_ns\":%d}\n", sent, sent,
		cpuNs()-cpu, time.Since(start).Nanoseconds())
}

func main() {
	runtime.LockOSThread()
	job := os.Args[1]
	var set unix.CPUSet
	if job == "transmit" {
		set.Set(0)
	} else {
		set.Set(1)
	}
	unix.SchedSetaffinity(0, &set)
	handle := open()
	if job == "transmit" {
		transmit(handle)
		return
	}
	fmt.Println("ready")
	if job == "drain" {
		drain(handle)
	} else {
		receive(handle)
	}
}
