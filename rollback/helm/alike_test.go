package helm

import "testing"

func TestIsTime(t *testing.T) {
	for text, want := range map[string]bool{
		"2026-01-02T03:04:05Z": true, "2026-01-02": true, "20260102030405": true,
		"1500000000": true, "2100000000": true, "1796000000000": true, "1796000000000000000": true,
		"1499999999": false, "2100000001": false, "2147483648": false, "1099511627776": false, "9223372036854775807": false,
		"1073741824": false, // a size of 1 GiB
		"":           false, "5": false, "-150000000": false, "+150000000": false, "179600000000": false, "1796000000s": false,
	} {
		if got := isTime(text); got != want {
			t.Errorf("%q is a time: want %v, got %v", text, want, got)
		}
	}
}
