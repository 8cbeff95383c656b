package applesim

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// handleControl adds the controls. Lists are NDJSON: one object a line.
func (s *Server) handleControl(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /control/receipts", s.getReceipts)
	mux.HandleFunc("GET /control/truth", s.getTruth)
	mux.HandleFunc("GET /control/log", s.getLog)
	mux.HandleFunc("GET /control/traffic", s.getTraffic)
	mux.HandleFunc("GET /control/root", s.getRoot)
	mux.HandleFunc("GET /control/clock", s.getClock)
	mux.HandleFunc("POST /control/clock", s.postClock)
	mux.HandleFunc("POST /control/faults", s.postFaults)
	mux.HandleFunc("POST /control/secrets", s.postSecrets)
	mux.HandleFunc("POST /control/replay", s.postReplay)
}

// receiptLine is one line of the list of receipts: what the import of
// receipts reads.
type receiptLine struct {
	BundleID    string `json:"bundle_id"`
	CustomerRef string `json:"customer_ref"`
	Receipt     string `json:"receipt"`
}

// WriteReceipts writes the receipt of every customer, or of one app's if
// bundleID is not empty, as NDJSON: {"bundle_id", "customer_ref", "receipt"},
// the receipt in base64.
func (s *Server) WriteReceipts(w io.Writer, bundleID string) error {
	encoder := json.NewEncoder(w)
	for r, err := range s.Receipts() {
		if err != nil {
			return err
		}
		if bundleID != "" && r.BundleID != bundleID {
			continue
		}
		if err := encoder.Encode(receiptLine{r.BundleID, r.CustomerRef, base64.StdEncoding.EncodeToString(r.Data)}); err != nil {
			return fmt.Errorf("write receipts: %w", err)
		}
	}
	return nil
}

func (s *Server) getReceipts(w http.ResponseWriter, r *http.Request) {
	ndjson(w)
	if err := s.WriteReceipts(w, r.FormValue("bundle_id")); err != nil {
		panic(http.ErrAbortHandler) // the list must not look complete
	}
}

func (s *Server) getTruth(w http.ResponseWriter, r *http.Request) {
	ndjson(w)
	encoder := json.NewEncoder(w)
	if ref := r.FormValue("customer_ref"); ref != "" {
		if truth, ok := s.TruthOf(ref); ok {
			_ = encoder.Encode(truth)
		}
		return
	}
	for truth := range s.Truth() {
		if encoder.Encode(truth) != nil {
			return // the client has left
		}
	}
}

func (s *Server) getLog(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseInt(r.FormValue("after"), 10, 64)
	if r.FormValue("after") != "" && err != nil {
		http.Error(w, "after: want a sequence number", http.StatusBadRequest)
		return
	}
	ndjson(w)
	encoder := json.NewEncoder(w)
	for e := range s.Log(after) {
		if encoder.Encode(e) != nil {
			return // the client has left
		}
	}
}

func (s *Server) getTraffic(w http.ResponseWriter, _ *http.Request) {
	ndjson(w)
	encoder := json.NewEncoder(w)
	for _, t := range s.Traffic() {
		_ = encoder.Encode(t)
	}
}

func (s *Server) getRoot(w http.ResponseWriter, _ *http.Request) {
	_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: s.authority.root.Raw})
}

func ndjson(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/x-ndjson") }

type clockState struct {
	Now   time.Time `json:"now"`
	Speed float64   `json:"speed"`
	// SinceSet is for how many real seconds the clock has not been set.
	SinceSet float64 `json:"seconds_since_set"`
}

func (s *Server) getClock(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", contentJSON)
	_ = json.NewEncoder(w).Encode(clockState{s.clock.Now(), s.clock.Speed(), s.clock.SinceSet().Seconds()})
}

func (s *Server) postClock(w http.ResponseWriter, r *http.Request) {
	var change struct {
		Now     *time.Time `json:"now"`
		Advance Duration   `json:"advance"`
		Speed   *float64   `json:"speed"`
	}
	if !readControl(w, r, &change) {
		return
	}
	if change.Speed != nil && *change.Speed < 0 {
		http.Error(w, "speed: want 0 or more", http.StatusBadRequest)
		return
	}
	if change.Now != nil {
		s.clock.Set(*change.Now)
	}
	s.clock.Advance(time.Duration(change.Advance))
	if change.Speed != nil {
		s.clock.SetSpeed(*change.Speed)
	}
	s.getClock(w, r)
}

func (s *Server) postFaults(w http.ResponseWriter, r *http.Request) {
	var rules []Rule
	if !readControl(w, r, &rules) {
		return
	}
	if err := s.SetFaults(rules); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (s *Server) postSecrets(w http.ResponseWriter, r *http.Request) {
	var change struct {
		BundleID string   `json:"bundle_id"`
		Secrets  []string `json:"secrets"`
	}
	if readControl(w, r, &change) {
		s.SetSecrets(change.BundleID, change.Secrets)
	}
}

// postReplay takes the body as a text, because a recorded one need not be
// JSON, and must be given word for word if it is.
func (s *Server) postReplay(w http.ResponseWriter, r *http.Request) {
	var change struct {
		ReceiptSHA256 string `json:"receipt_sha256"`
		HTTPStatus    int    `json:"http_status"`
		ContentType   string `json:"content_type"`
		Body          string `json:"body"`
	}
	if readControl(w, r, &change) {
		s.Replay(change.ReceiptSHA256, Recorded{change.HTTPStatus, change.ContentType, []byte(change.Body)})
	}
}

func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}
