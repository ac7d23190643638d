package rollback

import (
	"encoding/json"
	"reflect"
)

// maxRecordText bounds each text of a record, in runes.
const maxRecordText = 4000

// UnmarshalJSON reads a stored record, as Printable returns it: every client that may
// write ConfigMaps in a namespace may write records there.
func (r *Record) UnmarshalJSON(text []byte) error {
	type stored Record // has no UnmarshalJSON
	if err := json.Unmarshal(text, (*stored)(r)); err != nil {
		return err
	}
	*r = r.Printable()
	return nil
}

// Printable returns a copy of the record that can be shown to operators, with the same
// meaning: its texts are on one line, bounded and without the characters that mislead a
// terminal, its links lead to HTTP addresses, and its commands are about its release.
func (r *Record) Printable() Record {
	p := printable(*r)
	for i := range p.Signals {
		p.Signals[i].Link = link(p.Signals[i].Link)
	}
	for i := range p.Decisions {
		p.Decisions[i].Command = p.Decisions[i].Command.For(p.Key)
	}
	p.Owner.Command = p.Owner.Command.For(p.Key)
	return p
}

// Printable returns a copy that can be shown to operators, as Record.Printable does.
func (d DryRunResult) Printable() DryRunResult {
	record := d.Record.Printable()
	p := DryRunResult{Record: record, Assumed: printable(d.Assumed)}
	if d.Routing != nil {
		p.Routing = &Routing{
			Weights: printable(d.Routing.Weights), NoStable: printable(d.Routing.NoStable), Load: d.Routing.Load, Owner: record.Owner,
		}
	}
	return p
}

// printable returns a deep copy of a value with every text clipped.
func printable[T any](value T) T {
	v := reflect.ValueOf(&value).Elem()
	makePrintable(v)
	return value
}

// makePrintable clips every text in v, in place of which it copies what v points to.
func makePrintable(v reflect.Value) {
	switch kind := v.Kind(); {
	case kind == reflect.String:
		v.SetString(Clip(v.String(), maxRecordText))
	case kind == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() { // times and commands have no others
				makePrintable(v.Field(i))
			}
		}
	case kind == reflect.Pointer:
		if !v.IsNil() {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(v.Elem())
			makePrintable(c.Elem())
			v.Set(c)
		}
	case kind == reflect.Slice:
		if !v.IsNil() {
			c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(c, v)
			for i := range c.Len() {
				makePrintable(c.Index(i))
			}
			v.Set(c)
		}
	case kind == reflect.Map:
		makePrintableMap(v)
	default: // numbers and truth values
	}
}

func makePrintableMap(v reflect.Value) {
	if v.IsNil() {
		return
	}
	c := reflect.MakeMapWithSize(v.Type(), v.Len())
	for key, value := range v.Seq2() {
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		k.Set(key)
		e.Set(value)
		makePrintable(k)
		makePrintable(e)
		c.SetMapIndex(k, e)
	}
	v.Set(c)
}
