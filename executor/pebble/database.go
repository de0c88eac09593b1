// The settings of Pebble's database.

package pebble

import (
	"fmt"

	lsm "github.com/cockroachdb/pebble/v2"

	"github.com/evento-go/evento"
)

const (
	// memTableSize makes few, large flushes. Pebble takes the memory as it is needed, up
	// to twice of this. A log of twice this size is replayed in about a second.
	memTableSize = 64 << 20
	// blockSize suits reading a range of keys: a page or an aggregate.
	blockSize = 32 << 10
	// l0Compact is how many tables lie over each other before they are merged. Pebble's
	// default, 4, merges each event more often, and that takes more of the
	// processors' time than writing it.
	l0Compact = 8
	// l0Stop is how many may, before writers wait for the merging.
	l0Stop = 20
)

// database are the options of Pebble's database.
//
// Why: docs/decisions.md, "Events are merged seldom".
func (o *Options) database(d *disk) *lsm.Options {
	options := &lsm.Options{
		FS:                    d,
		ReadOnly:              o.ReadOnly,
		CacheSize:             o.CacheSize,
		MemTableSize:          memTableSize,
		L0CompactionThreshold: l0Compact,
		L0StopWritesThreshold: l0Stop,
		FormatMajorVersion:    lsm.FormatNewest,
		Logger:                d,
		EventListener: &lsm.EventListener{
			BackgroundError: d.backgroundError,
			DataCorruption: func(info lsm.DataCorruptionInfo) {
				d.fail(fmt.Errorf("%w: %s: %v", evento.ErrDamaged, info.Path, info.Details)) //nolint:errorlint // with it comes a stack
			},
		},
	}
	options.Experimental.SpanPolicyFunc = o.tableOf
	for i := range options.Levels {
		options.Levels[i].BlockSize = blockSize
	}
	return options
}

// tableOf ends tables between the kinds of keys. Keys that begin with the kind and end with
// a position only ever grow, so their tables do not overlap older ones, and need no merging
// with them as long as no other key is in them.
func (o *Options) tableOf(first []byte) (policy lsm.SpanPolicy, before []byte, err error) {
	n := len(o.Prefix)
	if len(first) > n && string(first[:n]) == o.Prefix {
		before = end(first[:n+1])
	}
	return policy, before, nil
}
