package grafana

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// format formats a value in one of Grafana's units, nearly as Grafana does.
func format(v float64, unit string, decimals *int) string {
	suffix := ""
	switch unit {
	case "percentunit":
		v, suffix = 100*v, "%"
	case "percent":
		suffix = "%"
	case "reqps":
		suffix = " req/s"
	case "ops":
		suffix = " ops/s"
	case "s":
		return seconds(v, decimals)
	case "dateTimeFromNow":
		return time.UnixMilli(int64(v)).UTC().Format("15:04:05")
	}
	return number(v, decimals) + suffix
}

func seconds(v float64, decimals *int) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0 s"
	case a < 1e-3:
		return number(v*1e6, decimals) + " µs"
	case a < 1:
		return number(v*1e3, decimals) + " ms"
	case a < 60:
		return number(v, decimals) + " s"
	default:
		return number(v/60, decimals) + " min"
	}
}

// number formats a number with the given decimals, or with three digits.
func number(v float64, decimals *int) string {
	if decimals != nil {
		return strconv.FormatFloat(v, 'f', *decimals, 64)
	}
	places := 0
	if v != 0 {
		places = min(max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0), 4)
	}
	text := strconv.FormatFloat(v, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// ticks returns round values from low to high, at most five.
func ticks(low, high float64) []float64 {
	if high <= low {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if (high-low)/(step*m) <= 4.001 {
			step *= m
			break
		}
	}
	var all []float64
	for v := math.Ceil(low/step) * step; v <= high+step/1000; v += step {
		all = append(all, v)
	}
	return all
}
