package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"
)

// tables finds what is captured of the table that a rows event is about.
type tables struct {
	database string
	prefix   string
	captured map[string][]string
	known    map[uint64]*table // nil: not captured
}

func newTables(database, prefix, captured string) *tables {
	columns := map[string][]string{}
	for _, part := range strings.Split(captured, ";") {
		name, names, _ := strings.Cut(part, ":")
		columns[name] = strings.Split(names, ",")
	}
	return &tables{database: database, prefix: prefix, captured: columns, known: map[uint64]*table{}}
}

func (t *tables) of(event *replication.RowsEvent) *table {
	found, known := t.known[event.TableID]
	if !known {
		found = t.described(event.Table)
		t.known[event.TableID] = found
	}
	return found
}

func (t *tables) described(described *replication.TableMapEvent) *table {
	name := string(described.Table)
	wanted, captured := t.captured[name]
	if string(described.Schema) != t.database || !captured {
		return nil
	}
	found := &table{topic: t.prefix + "." + name}
	unsigned := described.UnsignedMap()
	for _, want := range wanted {
		for at, named := range described.ColumnNameString() {
			if named == want {
				found.columns = append(found.columns, column{
					at: at, name: []byte(strconv.Quote(named) + ":"), unsigned: unsigned[at], touched: named == "updated_at",
				})
			}
		}
	}
	return found
}

type column struct {
	at       int
	name     []byte // "name":
	unsigned bool
	touched  bool // changes with every update
}

// table is what is captured of one; the first column is the key.
type table struct {
	topic   string
	columns []column
}

// same is whether an update changed no captured column but updated_at.
func (t *table) same(before, after []any) bool {
	for _, column := range t.columns {
		if !column.touched && !equal(before[column.at], after[column.at]) {
			return false
		}
	}
	return true
}

// equal compares two values of one column; those of TEXT and BLOB are bytes.
func equal(one, other any) bool {
	if text, is := one.([]byte); is {
		same, is := other.([]byte)
		return is && bytes.Equal(text, same)
	}
	return one == other
}

func (t *table) appendKey(to []byte, row []any) []byte {
	return appendValue(to, row[t.columns[0].at], t.columns[0].unsigned)
}

func (t *table) appendRow(to []byte, row []any) []byte {
	if row == nil {
		return append(to, "null"...)
	}
	for n, column := range t.columns {
		if n == 0 {
			to = append(to, '{')
		} else {
			to = append(to, ',')
		}
		to = append(to, column.name...)
		to = appendValue(to, row[column.at], column.unsigned)
	}
	return append(to, '}')
}

func appendValue(to []byte, value any, unsigned bool) []byte {
	switch value := value.(type) {
	case nil:
		return append(to, "null"...)
	case string:
		return appendText(to, value)
	case []byte:
		return appendText(to, string(value))
	case int64:
		if unsigned {
			return strconv.AppendUint(to, uint64(value), 10)
		}
		return strconv.AppendInt(to, value, 10)
	case int32:
		if unsigned {
			return strconv.AppendUint(to, uint64(uint32(value)), 10)
		}
		return strconv.AppendInt(to, int64(value), 10)
	case int16:
		if unsigned {
			return strconv.AppendUint(to, uint64(uint16(value)), 10)
		}
		return strconv.AppendInt(to, int64(value), 10)
	case int8:
		if unsigned {
			return strconv.AppendUint(to, uint64(uint8(value)), 10)
		}
		return strconv.AppendInt(to, int64(value), 10)
	}
	return appendText(to, fmt.Sprint(value))
}

const hex = "0123456789abcdef"

func appendText(to []byte, text string) []byte {
	to = append(to, '"')
	for n := 0; n < len(text); n++ {
		switch c := text[n]; {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c < 0x20:
			to = append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			to = append(to, c)
		}
	}
	return append(to, '"')
}
