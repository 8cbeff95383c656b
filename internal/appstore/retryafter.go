package appstore

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds how long a server may make us wait.
const maxRetryAfter = time.Hour

// retryAfter reads a Retry-After header: seconds or a date by the HTTP
// standard, but Apple sends UNIX time in milliseconds. The number's size tells
// them apart. It is the zero time where the header says nothing.
// https://developer.apple.com/documentation/appstoreserverapi/identifying-rate-limits
func retryAfter(header string, now time.Time) time.Time {
	at, ok := parseRetryAfter(strings.TrimSpace(header), now)
	switch latest := now.Add(maxRetryAfter); {
	case !ok:
		return time.Time{}
	case at.Before(now):
		return now
	case at.After(latest):
		return latest
	}
	return at
}

func parseRetryAfter(header string, now time.Time) (time.Time, bool) {
	n, err := strconv.ParseInt(header, 10, 64)
	if err != nil {
		at, err := http.ParseTime(header)
		return at, err == nil
	}
	switch {
	case n > 1e11:
		return time.UnixMilli(n), true
	case n > 1e9:
		return time.Unix(n, 0), true
	}
	return now.Add(time.Duration(n) * time.Second), n >= 0
}
