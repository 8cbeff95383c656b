package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"revalidator/internal/dev/applesim"
)

// imports measures the import of a file of receipts, all of them new.
func (b *bench) imports(ctx context.Context) error {
	s, err := b.newStack(ctx, true)
	if err != nil {
		return err
	}
	defer s.close()
	n := b.size(40_000)
	name := filepath.Join(b.folder, "receipts.ndjson")
	if err := writeReceipts(name, n); err != nil {
		return err
	}
	defer os.Remove(name)
	started := time.Now()
	p, err := b.start(ctx, s.env, "revalidator", "import", name, "--quiet", "--json")
	if err != nil {
		return err
	}
	defer p.stop()
	ended := make(chan []byte)
	go func() { out, _ := io.ReadAll(p.out); ended <- out }()
	var used usage
	var out []byte
	for out == nil {
		if u, err := p.used(); err == nil && u.peak > 0 {
			used = u
		}
		select {
		case out = <-ended:
		case <-time.After(20 * time.Millisecond):
		}
	}
	took := time.Since(started)
	var result struct {
		Added int `json:"added"`
	}
	if err := json.Unmarshal(out, &result); err != nil || result.Added != n {
		return errors.Join(err, fmt.Errorf("the import added %d of %d receipts", result.Added, n))
	}
	speed := float64(n) / took.Seconds()
	b.table.add(row{name: b.name("Import"), what: "import of 8 KB receipts"}.speed(speed, 5000))
	b.table.add(row{name: b.name("ImportMemory"), what: "import of 8 KB receipts, peak memory"}.memory(used.peak, 64<<20))
	return nil
}

// writeReceipts writes receipts for an import: one that is real but for its
// signature, whose end is another in each.
func writeReceipts(name string, n int) error {
	mix := applesim.DefaultMix()
	mix.Large = 1
	sim, err := applesim.New(applesim.Config{
		Customers: 1, Mix: &mix, PadRecords: 5, Apps: []applesim.App{applesim.NewApp(1, appID, true)},
	})
	if err != nil {
		return err
	}
	receipt, err := sim.Receipt(0)
	if err != nil {
		return err
	}
	say("  receipts of %d bytes", len(receipt.Data))
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 1<<20)
	for i := range n {
		binary.BigEndian.PutUint64(receipt.Data[len(receipt.Data)-8:], uint64(i))
		fmt.Fprintf(out, `{"bundle_id":%q,"customer_ref":"customer-%d","receipt":%q}`+"\n",
			appID, i, base64.StdEncoding.EncodeToString(receipt.Data))
	}
	return errors.Join(out.Flush(), file.Close())
}
