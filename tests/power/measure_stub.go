package main
import ("context";"io")
type measurement struct{}
func newMeasurement(Rules, uint64, float64, io.Writer) (*measurement, error) { return nil, nil }
func (m *measurement) errors(context.Context, io.Writer) error { return nil }
func (m *measurement) latency(context.Context, io.Writer) error { return nil }
func (m *measurement) hour(context.Context, io.Writer) error { return nil }
