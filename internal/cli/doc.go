// Package cli has the commands of backout, one in each file. Without a command the
// program serves; the other commands are for operators, under their own Kubernetes
// rights, whether or not backout runs in the cluster.
//
// Besides the commands there are root.go with the program, access.go and output.go with
// flags, names.go with arguments, manual.go with the parts of the commands that change
// something, records.go with those of the commands that read records, completion.go, and
// terminal.go, through which everything is printed.
package cli
