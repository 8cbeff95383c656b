package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// receiptIDs reads a file of receipt ids, one per line, and returns each once,
// in order. Empty lines do not count.
func (p *program) receiptIDs(ctx context.Context, name string) ([]int64, error) {
	if name == "" {
		return nil, nil
	}
	input, _, err := p.OpenInput(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("--ids: %w", err)
	}
	defer func() { _ = input.Close() }()
	var ids []int64
	lines := bufio.NewScanner(input)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id < 1 {
			// The line itself is not shown: it may be of a file of receipts.
			return nil, fmt.Errorf("--ids %s, line %d: want the id of a receipt, a number", name, n)
		}
		ids = append(ids, id)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--ids %s: %w", name, err)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("--ids %s: there is no id in it", name)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
