package main

import (
	"context"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	rules, err := LoadRules("../../rules/canary.rules.yml", "rivals.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Signals{{Errors: true}, {Latency: true}} {
		tr := Trial{Population: Population{Clumps: []int{1}}, Canaries: 100, Signals: s, Seed: 1, Lasts: 30 * time.Minute, History: 30 * time.Minute}
		began := time.Now()
		o, err := tr.Run(context.Background(), rules, errorRivals(), func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(s, time.Since(began), alarms(o))
		n := map[string]int{}
		for _, c := range o {
			for a := range c.Fired {
				n[a]++
			}
		}
		t.Log(n)
	}
}
