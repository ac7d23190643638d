package kept

import (
	"debug/elf"
	"errors"
	"fmt"
)

// BuildID returns the build ID that the Go linker wrote into a program. Two programs with the same one have the same content.
// Unlike the file's time, it stays when the go command finds the program up to date.
func BuildID(program string) (string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("read the build ID of %s: %w", program, err)
	}
	defer func() { _ = f.Close() }()
	id, err := goNote(f)
	if err != nil {
		return "", fmt.Errorf("read the build ID of %s: %w", program, err)
	}
	return id, nil
}

// goNote returns the content of the ELF note with the build ID: the lengths of name and content, a type, the name, the content.
func goNote(f *elf.File) (string, error) {
	const lengths, name = 12, "Go\x00\x00"
	s := f.Section(".note.go.buildid")
	if s == nil {
		return "", errors.New("the Go linker wrote none")
	}
	note, err := s.Data()
	if err != nil {
		return "", err
	}
	if len(note) < lengths+len(name) {
		return "", errors.New("the note is too short")
	}
	size := f.ByteOrder.Uint32(note[4:])
	content := note[lengths+len(name):]
	if uint64(size) > uint64(len(content)) {
		return "", errors.New("the note is cut off")
	}
	return string(content[:size]), nil
}
