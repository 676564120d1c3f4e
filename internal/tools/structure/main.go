// Command structure measures how the code is cut: how wide its structs are, how
// long its functions and files, how many methods its exported interfaces have, and
// what the public packages export under another name out of internal ones. It
// prints a table and what is beyond the limits, and fails if anything is that known.txt
// does not list.
//
//	go -C internal/tools run ./structure -repo ../..
//
// What it counts, over all modules of the repository, without tests, testdata and
// generated files:
//
//   - Fields: of each struct type, named or not. "a, b int" are two. An embedded struct
//     of one of our packages counts as the fields that it has, those that it embeds
//     included, and not as one itself; a pointer to it counts the same. Embedded types
//     of other modules, and embedded interfaces, count as one.
//   - Lines: of each function, from "func" to its closing brace, both included. A
//     function literal is part of the function that it stands in. The 95th percentile is
//     the nearest rank among all functions, short ones included.
//   - Methods: of each exported interface of any package, public or internal, those of
//     embedded interfaces included. What only constrains type parameters has none.
//   - Files: their lines.
//   - Aliases: exported types, constants and variables of public packages that are
//     another name for one of an internal package. A package is internal if an element
//     of its path is "internal", and public if not, unless it is a command.
//
// known.txt lists what was beyond the limits when the limits were introduced, with how
// far. An entry may shrink or go, and never grow; -update writes what is left of it.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("structure: ")
	repo := flag.String("repo", ".", "the repository's root")
	update := flag.Bool("update", false, "write the list of known offenders anew, which must not grow")
	flag.Parse()
	s, err := load(*repo)
	if err != nil {
		log.Fatal(err)
	}
	name := filepath.Join(*repo, "internal/tools/structure/known.txt")
	known, err := readKnown(name)
	if err != nil {
		log.Fatal(err)
	}
	r := measure(s)
	if err := r.print(os.Stdout, known); err != nil {
		log.Fatal(err)
	}
	if *update {
		if err := writeKnown(name, known, r.offenders()); err != nil {
			log.Fatal(err)
		}
		return
	}
	if bad := known.unknown(r.offenders()); len(bad) > 0 {
		fmt.Println()
		for _, o := range bad {
			fmt.Printf("beyond the limit and not known: %s\n", o)
		}
		os.Exit(1)
	}
}
