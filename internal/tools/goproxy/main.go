// Command goproxy writes a revision of this repository into a directory, in
// the form in which the go command reads it from a module proxy
// (https://go.dev/ref/mod#goproxy-protocol): what a user gets, before anything
// is published.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("goproxy: ")
	repo := flag.String("repo", ".", "the repository's root")
	sub := flag.String("sub", "", "the folder of a nested module; if empty, the root module")
	rev := flag.String("rev", "HEAD", "the revision to pack")
	version := flag.String("version", "", "the version to give it")
	dir := flag.String("dir", "", "where to write: GOPROXY=file://DIR reads it")
	flag.Parse()
	if err := write(*repo, *sub, *rev, *version, *dir); err != nil {
		log.Fatal(err)
	}
}

// write writes the files of one version of the module in folder sub at rev.
func write(repo, sub, rev, version, dir string) error {
	gomod, err := exec.Command("git", "-C", repo, "show", rev+":"+path.Join(sub, "go.mod")).Output()
	if err != nil {
		return fmt.Errorf("go.mod at %s: %w", rev, err)
	}
	m := module.Version{Path: modfile.ModulePath(gomod), Version: version}
	if err := module.Check(m.Path, m.Version); err != nil {
		return err
	}
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	base := filepath.Join(dir, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Now().UTC()})
	if err != nil {
		return err
	}
	return errors.Join(
		writeZip(filepath.Join(base, version+".zip"), m, repo, sub, rev),
		os.WriteFile(filepath.Join(base, version+".mod"), gomod, 0o644),
		os.WriteFile(filepath.Join(base, version+".info"), info, 0o644),
		os.WriteFile(filepath.Join(base, "list"), []byte(version+"\n"), 0o644),
	)
}

// writeZip writes the module's files. Nested modules are none of them.
func writeZip(name string, m module.Version, repo, sub, rev string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return zip.CreateFromVCS(f, m, repo, rev, sub)
}
