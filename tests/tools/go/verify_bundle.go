// Verifies a bundle of the record by Go's own packages for signed notes and transparency logs (golang.org/x/mod).
//
// Usage: main VKEY ORIGIN_FOLDER FIRST_CHECKPOINT CONSISTENCY RECEIPT
//
// The checkpoint must be signed by the key; the tree over all entries must have its root; the log of FIRST_CHECKPOINT must be
// its beginning, by the proof in CONSISTENCY (a hash in base64 a line); RECEIPT (tlog-proof) must prove its entry. Every hash is
// computed from the entries: tlog.TileHashReader does not authenticate all tiles that it is asked for.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func run(args []string) error {
	verifier, err := note.NewVerifier(args[0])
	if err != nil {
		return err
	}
	newest, err := checkpoint(verifier, filepath.Join(args[1], "checkpoint"))
	if err != nil {
		return err
	}
	stored, err := tree(args[1], newest.N)
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(newest.N, stored)
	if err != nil {
		return err
	}
	if root != newest.Hash {
		return fmt.Errorf("the entries do not have the root of the checkpoint")
	}
	first, err := checkpoint(verifier, args[2])
	if err != nil {
		return err
	}
	data, err := os.ReadFile(args[3])
	if err != nil {
		return err
	}
	proof, err := hashes(strings.Fields(string(data)))
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(tlog.TreeProof(proof), newest.N, newest.Hash, first.N, first.Hash); err != nil {
		return fmt.Errorf("consistency: %v", err)
	}
	return receipt(verifier, args[4], stored)
}

func checkpoint(verifier note.Verifier, name string) (tlog.Tree, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return tlog.Tree{}, err
	}
	return opened(verifier, data)
}

func opened(verifier note.Verifier, data []byte) (tlog.Tree, error) {
	signed, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("note: %v", err)
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("the checkpoint is of another origin or has other lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// tree reads all entry bundles (each entry with its length as u16 big endian before it) and stores the hashes over them.
func tree(folder string, size int64) (tlog.HashReaderFunc, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, 0, len(indexes))
		for _, index := range indexes {
			if index >= int64(len(stored)) {
				return nil, fmt.Errorf("there is no hash %d", index)
			}
			found = append(found, stored[index])
		}
		return found, nil
	})
	for first := int64(0); first < size; first += width {
		tile := tlog.Tile{H: 8, L: -1, N: first / width, W: width}
		if size-first < width {
			tile.W = int(size - first)
		}
		// tlog's own path for data tiles, whose directory is `data` where C2SP has `entries`, and `8` for the height.
		name := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		for number := first; number < first+int64(tile.W); number++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("%s ends before entry %d", name, number)
			}
			length := int(binary.BigEndian.Uint16(data))
			more, err := tlog.StoredHashes(number, data[2:2+length], reader)
			if err != nil {
				return nil, err
			}
			stored = append(stored, more...)
			data = data[2+length:]
		}
		if len(data) != 0 {
			return nil, fmt.Errorf("%s has bytes after its entries", name)
		}
	}
	return reader, nil
}

// receipt checks that the entry whose index is in a proof file is in the tree of the checkpoint in it.
func receipt(verifier note.Verifier, name string, stored tlog.HashReaderFunc) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(data), "\n\n")
	if !found {
		return fmt.Errorf("the receipt has no checkpoint")
	}
	log, err := opened(verifier, []byte(signed))
	if err != nil {
		return err
	}
	var proof []string
	index := int64(-1)
	for _, line := range strings.Split(head, "\n")[1:] {
		switch {
		case strings.HasPrefix(line, "extra "):
		case strings.HasPrefix(line, "index "):
			index, err = strconv.ParseInt(strings.TrimPrefix(line, "index "), 10, 64)
			if err != nil {
				return err
			}
		default:
			proof = append(proof, line)
		}
	}
	path, err := hashes(proof)
	if err != nil {
		return err
	}
	leaf, err := stored([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(tlog.RecordProof(path), log.N, log.Hash, index, leaf[0]); err != nil {
		return fmt.Errorf("receipt: %v", err)
	}
	return nil
}

func hashes(words []string) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, 0, len(words))
	for _, word := range words {
		data, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(data) != tlog.HashSize {
			return nil, fmt.Errorf("%q is no hash", word)
		}
		found = append(found, tlog.Hash(*(*[tlog.HashSize]byte)(data)))
	}
	return found, nil
}
