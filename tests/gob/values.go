// Writes values.txt: one line a value, its name and its gob in base64. Run with "go run values.go > values.txt" (Go 1.26.8 wrote it).
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"fmt"
	"math"
	"math/big"
	"time"
)

type Line struct {
	SKU string
	Qty int
}

type Tree struct {
	Name string
	Kids []*Tree
	M    map[string]*Tree
}

type Bin struct{ b []byte }

func (t Bin) MarshalBinary() ([]byte, error)  { return append([]byte{1}, t.b...), nil }
func (t *Bin) UnmarshalBinary(b []byte) error { t.b = b; return nil }

type Colour int

type All struct {
	B      bool
	I8     int8
	I64    int64
	U64    uint64
	F32    float32
	C      complex128
	S      string
	Raw    []byte
	Arr    [3]int
	Sl     []Line
	M      map[string]int
	MI     map[int]Line
	P      *Line
	Any    any
	Nested map[string]any
	At     time.Time
	Z      time.Time
	D      time.Duration
	Big    *big.Int
	Bi     Bin
	Col    Colour
	Anys   []any
	Mat    [2][2]float64
	Zero   int
}

func write(name string, v any) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		panic(err)
	}
	fmt.Printf("%s\t%s\n", name, base64.StdEncoding.EncodeToString(b.Bytes()))
}

// As DBOS writes: an interface value, which carries its type's name.
func wrapped(name string, v any) { write(name, &v) }

func main() {
	for _, v := range []any{Line{}, Tree{}, All{}, map[string]any{}, []any{}, time.Time{}, []Line{}, Colour(0), []string{}} {
		gob.Register(v)
	}
	west := time.FixedZone("west", -(3*3600 + 30*60))
	all := All{
		true, -128, math.MinInt64, math.MaxUint64, 1.5, complex(1, -2), "żółw 🐢", []byte{0, 255}, [3]int{1, 0, 3},
		[]Line{{"a", 1}, {"", 0}}, map[string]int{"k": 1}, map[int]Line{5: {"b", 2}}, &Line{"p", 0}, Line{"any", 3},
		map[string]any{"deep": map[string]any{"x": []any{1, "two", nil, 3.5, true}}},
		time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), time.Date(2026, 1, 2, 3, 4, 5, 0, west), 5 * time.Second,
		big.NewInt(258), Bin{[]byte{9}}, Colour(2), []any{Line{"q", 1}, Colour(1), uint8(3), []string{"s"}},
		[2][2]float64{{1, 2}, {3, 4}}, 0,
	}
	write("all", all)
	wrapped("wrapped all", all)
	write("int", -42)
	write("text", "hello")
	write("slice", []int{1, 2, 3})
	write("map", map[string]bool{"a": true})
	write("bytes", []byte("xy"))
	write("infinity", math.Inf(-1))
	write("time", time.Date(2026, 1, 2, 3, 4, 5, 678000000, time.UTC))
	wrapped("wrapped time", time.Date(1969, 12, 31, 23, 59, 59, 1, west))
	wrapped("wrapped map", map[string]any{"a": nil})
	wrapped("wrapped colour", Colour(3))
	wrapped("wrapped empty struct", Line{})
	wrapped("wrapped slice", []Line{{"x", 1}})
	write("tree", Tree{"root", []*Tree{{"a", nil, nil}, {"b", []*Tree{{"c", nil, nil}}, nil}}, map[string]*Tree{"m": {"d", nil, nil}}})
	chain := &Tree{}
	for range 300 {
		chain = &Tree{"n", []*Tree{chain}, nil}
	}
	write("chain of 300", chain)
}
