package applesim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseFaults reads the short form of rules: fault=rate, separated by commas,
// as in "503=0.02,21005=0.02,timeout=0.01". A number below 1000 is an HTTP
// status, any other a receipt status code; 429-seconds and 429-epoch-ms send a
// Retry-After of 5 seconds in that form, undated-null is undated in that form,
// status-21006 is 21006 with the right facts, proxy is a 413 for bodies above 8 KB,
// and latency is a second. The empty text is no rule.
func ParseFaults(text string) ([]Rule, error) {
	var rules []Rule
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, share, ok := strings.Cut(part, "=")
		rate, err := strconv.ParseFloat(share, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("fault %q: want name=rate, such as 503=0.02", part)
		}
		rule, err := parseFault(name)
		if err != nil {
			return nil, err
		}
		rule.Rate = rate
		if err := rule.Validate(); err != nil {
			return nil, fmt.Errorf("fault %q: %w", part, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// proxyLimit is that of many a proxy.
const proxyLimit = 8 << 10

// numbered are the faults that the short form names by their number, the first
// ones of faults.
var numbered = []Fault{FaultHTTP, FaultCode, FaultStatus}

func parseFault(name string) (Rule, error) {
	if name == "proxy" {
		return Rule{Fault: FaultHTTP, Status: http.StatusRequestEntityTooLarge, LargerThan: proxyLimit}, nil
	}
	if number, ok := strings.CutPrefix(name, string(FaultStatus)+"-"); ok {
		status, err := strconv.Atoi(number)
		if err != nil {
			return Rule{}, fmt.Errorf("fault %q: want a receipt status code after status-", name)
		}
		return Rule{Fault: FaultStatus, Status: status}, nil
	}
	if slices.Contains(faults, Fault(name)) && !slices.Contains(numbered, Fault(name)) {
		rule := Rule{Fault: Fault(name)}
		if rule.Fault == FaultLatency {
			rule.Latency = Duration(time.Second)
		}
		return rule, nil
	}
	if form, ok := strings.CutPrefix(name, string(FaultUndated)+"-"); ok {
		return Rule{Fault: FaultUndated, Form: Form(form)}, nil
	}
	number, form := name, ""
	// The minus of a receipt status code of -1 separates nothing.
	if i := strings.LastIndex(name, "-"); i > 0 {
		number, form, _ = strings.Cut(name, "-")
	}
	status, err := strconv.Atoi(number)
	if err != nil {
		return Rule{}, fmt.Errorf("fault %q: want an HTTP status, a receipt status code or one of %v", name, faults[len(numbered):])
	}
	if status < 0 || status >= 1000 {
		return Rule{Fault: FaultCode, Status: status}, nil
	}
	rule := Rule{Fault: FaultHTTP, Status: status, RetryAfterForm: form}
	if form != "" {
		rule.RetryAfter = Duration(5 * time.Second)
	}
	return rule, nil
}
