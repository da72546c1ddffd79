// Command gopeer is the fastest reader that an engineer would write in Go instead of leadstream's: go-mysql's
// BinlogSyncer, JSON of the captured columns, franz-go with lz4, a Kafka transaction for every 50,000 rows with a
// checkpoint in it. It reads a binlog from its beginning to the position given, and ends.
//
// Its only user is tests/bench: it has no reconnecting, no DDL, no deletes that move between keys, no lanes.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"io"
	"log"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/twmb/franz-go/pkg/kgo"
)

const rowsATransaction = 50_000

var (
	host     = flag.String("host", "127.0.0.1", "the MySQL server")
	port     = flag.Uint("port", 3306, "its port")
	user     = flag.String("user", "root", "whose password stands in MYSQL_PWD")
	database = flag.String("database", "bench", "whose tables are read")
	first    = flag.String("first", "", "the binlog file to begin with")
	lastFile = flag.String("last-file", "", "the binlog file that the history ends in")
	lastPos  = flag.Uint("last-pos", 0, "where it ends there")
	kafka    = flag.String("kafka", "127.0.0.1:9092", "bootstrap servers")
	prefix   = flag.String("prefix", "", "of the topics, which exist")
	captured = flag.String("captured", "", "table:column,column;table:…")
	skip     = flag.Bool("skip-unchanged", false, "leave out updates of no captured column but updated_at")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(*kafka, ",")...),
		kgo.TransactionalID(*prefix+".go"),
		kgo.TransactionTimeout(time.Minute),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(2*rowsATransaction),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 454545, Flavor: "mysql", Host: *host, Port: uint16(*port), User: *user,
		Password: os.Getenv("MYSQL_PWD"), TimestampStringLocation: time.UTC,
		TLSConfig: &tls.Config{InsecureSkipVerify: true}, // encrypted and unchecked, as leadstream's default is
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	defer syncer.Close()
	stream, err := syncer.StartSync(mysql.Position{Name: *first, Pos: 4})
	if err != nil {
		return err
	}
	out := newSink(ctx, client, *prefix)
	tables := newTables(*database, *prefix, *captured)
	file := *first
	for {
		event, err := stream.GetEvent(ctx)
		if err != nil {
			return err
		}
		switch body := event.Event.(type) {
		case *replication.RotateEvent:
			file = string(body.NextLogName)
			continue
		case *replication.RowsEvent:
			table := tables.of(body)
			if table == nil {
				continue
			}
			if err := produce(out, table, event.Header, body); err != nil {
				return err
			}
		case *replication.XIDEvent:
			if out.rows >= rowsATransaction {
				if err := out.commit(file, event.Header.LogPos); err != nil {
					return err
				}
			}
		}
		if event.Header.LogPos >= uint32(*lastPos) && file == *lastFile {
			return out.commit(file, event.Header.LogPos)
		}
	}
}

func produce(out *sink, table *table, header *replication.EventHeader, body *replication.RowsEvent) error {
	seconds := int64(header.Timestamp)
	switch header.EventType {
	case replication.WRITE_ROWS_EVENTv2, replication.WRITE_ROWS_EVENTv1:
		for _, row := range body.Rows {
			if err := out.send(table, 'c', seconds, nil, row); err != nil {
				return err
			}
		}
	case replication.UPDATE_ROWS_EVENTv2, replication.UPDATE_ROWS_EVENTv1:
		for n := 0; n+1 < len(body.Rows); n += 2 {
			if *skip && table.same(body.Rows[n], body.Rows[n+1]) {
				continue
			}
			if err := out.send(table, 'u', seconds, body.Rows[n], body.Rows[n+1]); err != nil {
				return err
			}
		}
	case replication.DELETE_ROWS_EVENTv2, replication.DELETE_ROWS_EVENTv1:
		for _, row := range body.Rows {
			if err := out.send(table, 'd', seconds, row, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// sink sends rows to Kafka in transactions.
type sink struct {
	ctx    context.Context
	client *kgo.Client
	prefix string
	rows   int // in the open transaction; 0: none is open
	total  int
	failed chan error
	slab   []byte
}

func newSink(ctx context.Context, client *kgo.Client, prefix string) *sink {
	return &sink{ctx: ctx, client: client, prefix: prefix, failed: make(chan error, 1)}
}

func (s *sink) send(table *table, op byte, seconds int64, before, after []any) error {
	if s.rows == 0 {
		if err := s.client.BeginTransaction(); err != nil {
			return err
		}
	}
	if cap(s.slab)-len(s.slab) < 16<<10 { // a few hundred messages an allocation
		s.slab = make([]byte, 0, 256<<10)
	}
	start := len(s.slab)
	row := after
	if row == nil {
		row = before
	}
	s.slab = table.appendKey(s.slab, row)
	middle := len(s.slab)
	s.slab = append(s.slab, `{"before":`...)
	s.slab = table.appendRow(s.slab, before)
	s.slab = append(s.slab, `,"after":`...)
	s.slab = table.appendRow(s.slab, after)
	s.slab = append(s.slab, `,"op":"`...)
	s.slab = append(s.slab, op)
	s.slab = append(s.slab, `","ts_ms":`...)
	s.slab = strconv.AppendInt(s.slab, 1000*seconds, 10)
	s.slab = append(s.slab, '}')
	end := len(s.slab)
	s.client.Produce(s.ctx, &kgo.Record{
		Topic: table.topic, Key: s.slab[start:middle:middle], Value: s.slab[middle:end:end],
	}, s.sent)
	s.rows++
	return nil
}

func (s *sink) sent(_ *kgo.Record, err error) {
	if err != nil {
		select {
		case s.failed <- err:
		default:
		}
	}
}

// commit ends the open transaction, if there is one or none was yet, with a checkpoint in it that the bench reads.
func (s *sink) commit(file string, pos uint32) error {
	if s.rows == 0 {
		if err := s.client.BeginTransaction(); err != nil {
			return err
		}
	}
	s.total += s.rows
	checkpoint := `{"file":"` + file + `","pos":` + strconv.FormatUint(uint64(pos), 10) +
		`,"rows":` + strconv.Itoa(s.total) + `}`
	s.client.Produce(s.ctx, &kgo.Record{
		Topic: s.prefix + ".checkpoints", Key: []byte("reader"), Value: []byte(checkpoint),
	}, s.sent)
	if err := s.client.Flush(s.ctx); err != nil {
		return err
	}
	select {
	case err := <-s.failed:
		return err
	default:
	}
	s.rows = 0
	return s.client.EndTransaction(s.ctx, kgo.TryCommit)
}
