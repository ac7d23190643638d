package helm

// covers reports whether everything that is declared is the same in the outcome.
func covers(outcome, declared any) bool {
	switch d := declared.(type) {
	case map[string]any:
		o, ok := outcome.(map[string]any)
		if !ok {
			return len(d) == 0 && outcome == nil
		}
		for field, value := range d {
			if !covers(o[field], value) {
				return false
			}
		}
		return true
	case []any:
		o, ok := outcome.([]any)
		if !ok || len(o) != len(d) {
			return len(d) == 0 && outcome == nil
		}
		for i := range d {
			if !covers(o[i], d[i]) {
				return false
			}
		}
		return true
	case nil:
		return true
	default:
		return equalValues(outcome, declared) || declared == "" && outcome == nil
	}
}

// empty reports whether a declared value says nothing.
func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	default:
		return false
	}
}
