// franz-go, with a promise for each record. It takes the flags of kurier_bench::Workload and prints the same line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const sleepMin = 250 * time.Microsecond

type workload struct {
	bootstrap, topic, payload, acks, compression string
	records                                      uint64
	size, keyed, linger, batch, idempotence      int
	buffer                                       int
	rate                                         float64
}

func flags() workload {
	var w workload
	flag.StringVar(&w.bootstrap, "bootstrap", "", "")
	flag.StringVar(&w.topic, "topic", "bench", "")
	flag.StringVar(&w.payload, "payload", "", "")
	flag.StringVar(&w.acks, "acks", "all", "")
	flag.StringVar(&w.compression, "compression", "none", "")
	flag.Uint64Var(&w.records, "records", 1_000_000, "")
	flag.IntVar(&w.size, "size", 100, "")
	flag.IntVar(&w.keyed, "keyed", 0, "")
	flag.IntVar(&w.linger, "linger-ms", 5, "")
	flag.IntVar(&w.batch, "batch-size", 16_384, "")
	flag.IntVar(&w.idempotence, "idempotence", 1, "")
	flag.IntVar(&w.buffer, "buffer", 33_554_432, "")
	flag.Float64Var(&w.rate, "rate", 0, "")
	flag.Int("partitions", 6, "")
	flag.Parse()
	return w
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Processor seconds of this process: its own, and the system's.
func cpu() (float64, float64) {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime), seconds(usage.Stime)
}

func peakMemory() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmHWM:") {
			kilobytes, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return kilobytes / 1024
		}
	}
	return 0
}

func letters(count int) []byte {
	state := uint64(0x9E3779B97F4A7C15)
	letters := make([]byte, count)
	for i := range letters {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		letters[i] = 'A' + byte(state%26)
	}
	return letters
}

func key(number uint64) []byte {
	key := make([]byte, 8)
	rest := number * 2_654_435_761 % 100_000_000
	for i := 7; i >= 0; i-- {
		key[i] = '0' + byte(rest%10)
		rest /= 10
	}
	return key
}

func options(w workload) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(w.bootstrap, ",")...),
		kgo.DefaultProduceTopic(w.topic),
		kgo.ProducerLinger(time.Duration(w.linger) * time.Millisecond),
		kgo.ProducerBatchMaxBytes(int32(w.batch)),
		kgo.MaxBufferedBytes(w.buffer),
		kgo.MaxBufferedRecords(10_000_000),
	}
	codec, ok := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[w.compression]
	if !ok {
		must(fmt.Errorf("--compression %s is unknown", w.compression))
	}
	options = append(options, kgo.ProducerBatchCompression(codec))
	acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[w.acks]
	options = append(options, kgo.RequiredAcks(acks))
	if w.idempotence == 0 {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(5))
	}
	return options
}

func main() {
	w := flags()
	payload := letters(max(w.size, 1<<20) + 1)
	if w.payload != "" {
		var err error
		payload, err = os.ReadFile(w.payload)
		must(err)
	}
	client, err := kgo.NewClient(options(w)...)
	must(err)
	must(client.Ping(context.Background()))

	latencies := make([]int32, w.records)
	var acknowledged, failed atomic.Uint64
	var open sync.WaitGroup
	user, system := cpu()
	start := time.Now()
	due := uint64(0)
	at := 0
	for number := uint64(0); number < w.records; number++ {
		for w.rate > 0 && number >= due {
			elapsed := time.Since(start)
			wait := time.Duration(float64(number)/w.rate*1e9) - elapsed
			if wait <= 0 {
				due = max(number, uint64(elapsed.Seconds()*w.rate)) + 1
			} else {
				time.Sleep(max(wait, sleepMin))
			}
		}
		record := &kgo.Record{Value: payload[at : at+w.size]}
		at = (at + w.size) % (len(payload) - w.size)
		if w.keyed == 1 {
			record.Key = key(number)
		}
		sent := time.Now()
		open.Add(1)
		client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Add(1)
			} else {
				latencies[acknowledged.Add(1)-1] = int32(time.Since(sent).Microseconds())
			}
			open.Done()
		})
	}
	open.Wait()
	seconds := time.Since(start).Seconds()
	userAfter, systemAfter := cpu()
	memory := peakMemory()
	ok := acknowledged.Load()
	sorted := latencies[:ok]
	sort.Slice(sorted, func(a, b int) bool { return sorted[a] < sorted[b] })
	quantile := func(quantile float64) float64 {
		if ok == 0 {
			return 0
		}
		return float64(sorted[int(quantile*float64(ok-1))]) / 1e3
	}
	rounded := func(number float64, digits int) float64 {
		factor := math.Pow10(digits)
		return math.Round(number*factor) / factor
	}
	user, system = userAfter-user, systemAfter-system
	line, err := json.Marshal(map[string]any{
		"peer": "franz-go", "records": ok, "failed": failed.Load(), "size": w.size, "secs": rounded(seconds, 3),
		"rec_per_s": rounded(float64(ok)/seconds, 0), "mb_per_s": rounded(float64(ok)*float64(w.size)/seconds/1e6, 1),
		"cpu_user": rounded(user, 3), "cpu_sys": rounded(system, 3),
		"cpu_us_per_rec": rounded((user+system)*1e6/float64(max(ok, 1)), 3), "rss_mb": rounded(memory, 1), "latencies": ok,
		"p50_ms": quantile(.5), "p99_ms": quantile(.99), "p999_ms": quantile(.999),
	})
	must(err)
	fmt.Println(string(line))
}
