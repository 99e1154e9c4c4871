"""A store in a directory of another machine, reached by SFTP with asyncssh."""
