// An application on DBOS for Go: everything in it fails until the file "mended" is there.
//
//	main FOLDER NAME
//
// The database is FOLDER/live.sqlite. Each step writes "<run> <step>" to FOLDER/executed when it runs. On standard input, "start"
// begins every case and is answered "ended" when all have; the end of the input stops it.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite"
)

var folder = os.Args[1]

func mended() bool {
	_, err := os.Stat(filepath.Join(folder, "mended"))
	return err == nil
}

func ran(run, step string) error {
	file, err := os.OpenFile(filepath.Join(folder, "executed"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintf(file, "%s %s\n", run, step)
	return err
}

// step runs a step of that name; one that fails does so until everything is mended.
func step(ctx dbos.Context, name string, fails bool) (string, error) {
	run, err := dbos.GetWorkflowID(ctx)
	if err != nil {
		return "", err
	}
	return dbos.RunAsStep(ctx, func(context.Context) (string, error) {
		if err := ran(run, name); err != nil {
			return "", err
		}
		if fails && !mended() {
			return "", errors.New("the bank is closed")
		}
		return name, nil
	}, dbos.WithStepName(name))
}

func stepFails(ctx dbos.Context, what string) (string, error) {
	if _, err := step(ctx, "reserve", false); err != nil {
		return "", err
	}
	if _, err := step(ctx, "charge", true); err != nil {
		return "", err
	}
	if _, err := step(ctx, "ship", false); err != nil {
		return "", err
	}
	return "shipped " + what, nil
}

func bodyFails(ctx dbos.Context, _ string) (string, error) {
	reserved, err := step(ctx, "reserve", false)
	if err == nil && !mended() {
		err = errors.New("raised between two steps")
	}
	return reserved, err
}

func parent(ctx dbos.Context, what string) (string, error) {
	if _, err := step(ctx, "reserve", false); err != nil {
		return "", err
	}
	child, err := dbos.RunWorkflow(ctx, stepFails, what)
	if err != nil {
		return "", err
	}
	result, err := child.GetResult()
	if err != nil {
		return "", err
	}
	if _, err := step(ctx, "ship", false); err != nil {
		return "", err
	}
	return "shipped " + result, nil
}

func start(ctx dbos.Context) {
	cases := []struct {
		run      string
		workflow dbos.Workflow[string, string]
		input    string
	}{{"step", stepFails, "a box"}, {"body", bodyFails, ""}, {"parent", parent, "a child's box"}}
	for _, one := range cases {
		handle, err := dbos.RunWorkflow(ctx, one.workflow, one.input, dbos.WithWorkflowID(one.run))
		if err != nil {
			panic(err)
		}
		_, _ = handle.GetResult() // all of them fail: that is what they are for
	}
}

func main() {
	ctx, err := dbos.NewContext(context.Background(), dbos.Config{
		AppName:     os.Args[2],
		DatabaseURL: "sqlite:" + filepath.Join(folder, "live.sqlite"),
		Logger:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	dbos.RegisterWorkflow(ctx, stepFails)
	dbos.RegisterWorkflow(ctx, bodyFails)
	dbos.RegisterWorkflow(ctx, parent)
	if err := dbos.Launch(ctx); err != nil {
		panic(err)
	}
	fmt.Println("launched")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		start(ctx)
		fmt.Println("ended")
	}
	_ = dbos.Shutdown(ctx, 2*time.Second)
}
