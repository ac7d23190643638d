package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxFaultsBytes bounds the body of PUT /faults; a set of faults has about 150 bytes.
const maxFaultsBytes = 4 << 10

// ServeHTTP answers /faults: GET returns the faults in effect, and PUT replaces all of them, with the zero value for those that
// the body omits. It does not authenticate: Config.FaultsAdmin enables it.
func (s *faultSwitch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPut:
		f, err := readFaults(http.MaxBytesReader(w, r.Body, maxFaultsBytes))
		if err != nil {
			code := http.StatusBadRequest
			if _, long := errors.AsType[*http.MaxBytesError](err); long {
				code = http.StatusRequestEntityTooLarge
			}
			http.Error(w, err.Error(), code)
			return
		}
		s.set(f)
		s.log.WarnContext(r.Context(), "faults changed", "faults", f)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		http.Error(w, "use GET to read faults and PUT to replace them", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(s.current.Load().Faults) // an error means that the client disconnected
}

// readFaults reads one set of faults as JSON and returns every reason why it cannot be put into effect. Unknown fields are an
// error: a misspelt fault would have no effect.
func readFaults(body io.Reader) (Faults, error) {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	var f *Faults
	err := decoder.Decode(&f)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.Join(errors.New("trailing data after the object"), more)
		}
	}
	if err != nil {
		return Faults{}, fmt.Errorf(`read faults: %w: use one JSON object, as in {"errorShare": 0.5, "latency": "250ms"}`, err)
	}
	if f == nil {
		return Faults{}, errors.New("read faults: null is not a set of faults: use {} for none")
	}
	if err := f.Validate(); err != nil {
		return Faults{}, fmt.Errorf("read faults: %w", err)
	}
	return *f, nil
}
