package applesim

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	contentJSON = "application/json; charset=UTF-8"
	contentHTML = "text/html; charset=UTF-8"
	contentText = "text/plain; charset=UTF-8"
)

// answer is what goes back to the client.
type answer struct {
	httpStatus  int // 0: none, see hang and reset
	contentType string
	retryAfter  string
	body        []byte
	mishap      mishap
	asked       *question // what the right answer was worked out from
}

// code is the answer that holds nothing but a receipt status code.
func (e *Entry) code(status int) answer {
	e.Status = &status
	return answer{httpStatus: http.StatusOK, contentType: contentJSON, body: fmt.Appendf(nil, `{"status":%d}`, status)}
}

// page is an answer of a web server in front of the App Store.
func page(httpStatus int) answer {
	text := http.StatusText(httpStatus)
	a := answer{httpStatus: httpStatus, contentType: contentText, body: []byte(text + "\n")}
	if httpStatus == http.StatusServiceUnavailable || httpStatus == http.StatusRequestEntityTooLarge {
		a.contentType = contentHTML
		a.body = fmt.Appendf(nil, "<html><head><title>%d %s</title></head>\n<body><h1>%[2]s</h1></body></html>\n", httpStatus, text)
	}
	return a
}

// instead is the answer of a mishap that has nothing to do with the receipt;
// false if this is no such mishap.
func (m mishap) instead(e *Entry, now time.Time) (answer, bool) {
	if m.rule == nil {
		return answer{}, false
	}
	switch m.rule.Fault {
	case FaultHTTP:
		a := page(m.rule.Status)
		a.retryAfter = m.rule.retryAfter(now)
		return a, true
	case FaultCode:
		a := e.code(m.rule.Status)
		a.body = m.codeBody(e.Environment)
		return a, true
	case FaultReset, FaultTimeout:
		return answer{}, true
	case FaultEndless, FaultBomb:
		return answer{httpStatus: http.StatusOK, contentType: contentJSON}, true
	case FaultEmpty:
		return answer{httpStatus: http.StatusOK, contentType: contentJSON}, true
	case FaultHTML:
		a := page(http.StatusServiceUnavailable)
		a.httpStatus = http.StatusOK
		return a, true
	default:
		return answer{}, false
	}
}

func (r *Rule) retryAfter(now time.Time) string {
	wait := time.Duration(r.RetryAfter)
	switch {
	case wait == 0:
		return ""
	case r.RetryAfterForm == RetryAfterEpochMS:
		return strconv.FormatInt(now.Add(wait).UnixMilli(), 10)
	default:
		return strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
	}
}

// codeBody tells a receipt status code, and whether to try again where Apple
// does: by one of two names, in one of several types.
func (m mishap) codeBody(environment string) []byte {
	key, value := m.rule.RetryableKey, m.rule.Retryable
	if value == "" && m.rule.Status >= 21100 && m.rule.Status <= 21199 {
		value = []string{"true", "1", `"1"`, `"true"`}[m.draw%4]
	}
	if value == "" {
		return fmt.Appendf(nil, `{"status":%d}`, m.rule.Status)
	}
	if key == "" {
		key = []string{"is_retryable", "is-retryable"}[m.draw>>8%2]
	}
	return fmt.Appendf(nil, `{"environment":"%s", "%s":%s, "status":%d}`, environment, key, value, m.rule.Status)
}

// mislead changes what the right answer is worked out from.
func (m mishap) mislead(q *question) {
	q.dated = at(m.date(q.dated.time()))
	if m.rule == nil {
		return
	}
	switch m.rule.Fault {
	case FaultWrongApp:
		q.bundleID = "com.example.stranger"
	case FaultStale, FaultLag:
		q.now -= millis(m.age().Milliseconds())
	case FaultStatus:
		q.status = m.rule.Status
	case FaultUndated, FaultFirstDates, FaultLongIDs:
		q.spoil = spoil{m.rule, m.draw}
	case FaultNoRenewal:
		q.view.noRenewal = true
	case FaultOlder:
		q.view.oldest = cmp.Or(m.rule.Periods, 1)
	case FaultBare:
		q.view.bare = true
	}
}

// age is how long ago what an answer tells was true.
func (m mishap) age() time.Duration {
	if m.rule == nil || m.rule.Fault != FaultStale && m.rule.Fault != FaultLag {
		return 0
	}
	older := time.Duration(float64(m.rule.Jitter) * chance(m.draw, 1))
	return cmp.Or(time.Duration(m.rule.Age), time.Hour) + older.Truncate(time.Second)
}

// date is the time that an answer gives as its own.
func (m mishap) date(now time.Time) time.Time {
	if m.rule != nil && m.rule.Fault == FaultStale {
		now = now.Add(-m.age())
	}
	return now.Add(m.skew)
}

// ruin spoils the right answer.
func (m mishap) ruin(a answer) answer {
	if m.rule == nil {
		return a
	}
	switch m.rule.Fault {
	case FaultCut:
		fraction := m.rule.Fraction
		if fraction == 0 {
			fraction = 0.5
		}
		a.body = a.body[:int(float64(len(a.body))*fraction)]
	case FaultControl:
		a.body = bytes.ReplaceAll(a.body, []byte(`":"`), []byte("\":\"\x01\x1f"))
	case FaultContentType:
		a.contentType = contentHTML
	}
	return a
}

// send gives the answer when its time has come. The Date is the simulated one:
// the only time that Apple tells with a transaction receipt.
func (a answer) send(w http.ResponseWriter, r *http.Request, now time.Time) {
	if a.mishap.delay > 0 {
		wait := time.NewTimer(a.mishap.delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		}
	}
	if a.httpStatus == 0 {
		a.breakOff(w, r)
	}
	header := w.Header()
	header.Set("Date", a.mishap.date(now).UTC().Format(http.TimeFormat))
	header.Set("Content-Type", a.contentType)
	if a.sendOddly(w, r) {
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.retryAfter != "" {
		header.Set("Retry-After", a.retryAfter)
	}
	w.WriteHeader(a.httpStatus)
	_, _ = w.Write(a.body) // the client may have left
}

// breakOff ends the request without an answer. It does not return.
func (a answer) breakOff(w http.ResponseWriter, r *http.Request) {
	if a.mishap.rule.Fault == FaultTimeout {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // closes with a reset instead of an orderly end
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}
