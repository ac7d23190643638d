// Package serve is the service: it reads the configuration, connects the parts of
// backout and runs them.
//
//	config.go       the configuration, from the environment
//	variables.go    reads structs from BACKOUT_ variables
//	cluster.go      finds the cluster
//	service.go      connects the parts
//	run.go          Run: everything from the environment to the end of the process
//	serve.go        listens, works and drains
//	apirequests.go  counts the requests to the API server
//	apiresponses.go bounds its responses
//
// It knows every package of backout but cli.
package serve
