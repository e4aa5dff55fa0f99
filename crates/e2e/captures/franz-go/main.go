// Writes a file's records to a topic with franz-go, each to its given partition. Flushes after every hundred records.
//
// Each line is a record: partition, key, value, then name and value of each header, separated by tabs. Bytes are in
// hex, null is -. Prints the numbers of acknowledged and refused records.
//
// Arguments: bootstrap.servers, topic, compression.type, acks ("all" also means idempotent), file, and optionally 2.4,
// to use only API versions that Kafka 2.4 has.
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func main() {
	bootstrap, topic, codec, acks, file := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap),
		kgo.ProducerBatchCompression(codecs[codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}
	if acks == "1" {
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	if len(os.Args) > 6 && os.Args[6] == "2.4" {
		options = append(options, kgo.MaxVersions(kversion.V2_4_0()))
	}
	client, err := kgo.NewClient(options...)
	must(err)
	defer client.Close()

	lines, err := os.ReadFile(file)
	must(err)
	var acknowledged, refused atomic.Int64
	settled := func(_ *kgo.Record, err error) {
		if err == nil {
			acknowledged.Add(1)
		} else {
			refused.Add(1)
		}
	}
	for number, line := range strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n") {
		client.Produce(context.Background(), record(topic, line), settled)
		if number%100 == 99 {
			must(client.Flush(context.Background()))
		}
	}
	must(client.Flush(context.Background()))
	fmt.Println(acknowledged.Load(), refused.Load())
}

func record(topic, line string) *kgo.Record {
	fields := strings.Split(line, "\t")
	partition, err := strconv.ParseInt(fields[0], 10, 32)
	must(err)
	record := &kgo.Record{Topic: topic, Partition: int32(partition), Key: unhex(fields[1]), Value: unhex(fields[2])}
	for i := 3; i < len(fields); i += 2 {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: string(unhex(fields[i])), Value: unhex(fields[i+1])})
	}
	return record
}

// Returns nil for null, and an empty slice for an empty field.
func unhex(field string) []byte {
	if field == "-" {
		return nil
	}
	bytes, err := hex.DecodeString(field)
	must(err)
	return bytes
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
