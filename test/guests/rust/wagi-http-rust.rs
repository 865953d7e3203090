//! A WAGI module that sends a request by wasi_experimental_http: the query is the URL, the request's body is sent on.
use std::io::{self, Read};

#[link(wasm_import_module = "wasi_experimental_http")]
extern "C" {
    fn req(
        url: *const u8, url_len: usize, method: *const u8, method_len: usize, headers: *const u8, headers_len: usize,
        body: *const u8, body_len: usize, status: *mut u16, handle: *mut u32,
    ) -> u32;
    fn close(handle: u32) -> u32;
    fn header_get(
        handle: u32, name: *const u8, name_len: usize, value: *mut u8, value_len: usize, written: *mut usize,
    ) -> u32;
    fn headers_get_all(handle: u32, buffer: *mut u8, length: usize, written: *mut usize) -> u32;
    fn body_read(handle: u32, buffer: *mut u8, length: usize, written: *mut usize) -> u32;
}

fn main() -> io::Result<()> {
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body)?;
    let url = std::env::var("QUERY_STRING").unwrap_or_default();
    let method = std::env::var("REQUEST_METHOD").unwrap_or_default();
    let headers = "x-guest:rust\nhost:elsewhere\n";
    let (mut status, mut handle, mut written) = (0u16, 0u32, 0usize);
    println!("Content-Type: text/plain\n");
    unsafe {
        let error = req(
            url.as_ptr(), url.len(), method.as_ptr(), method.len(), headers.as_ptr(), headers.len(),
            body.as_ptr(), body.len(), &mut status, &mut handle,
        );
        println!("req {error} {status}");
        let mut buffer = vec![0u8; 1000];
        let name = "X-One";
        let error = header_get(handle, name.as_ptr(), name.len(), buffer.as_mut_ptr(), buffer.len(), &mut written);
        println!("header {error} {}", String::from_utf8_lossy(&buffer[..written]));
        let error = header_get(handle, name.as_ptr(), name.len(), buffer.as_mut_ptr(), 0, &mut written);
        println!("small {error}");
        written = 0;
        let error = headers_get_all(handle, buffer.as_mut_ptr(), buffer.len(), &mut written);
        print!("all {error} {}", String::from_utf8_lossy(&buffer[..written]).replace('\n', ";"));
        loop {
            written = 0;
            let error = body_read(handle, buffer.as_mut_ptr(), 3, &mut written);
            print!("|{error} {}", String::from_utf8_lossy(&buffer[..written]));
            if error != 0 || written == 0 {
                break;
            }
        }
        println!("\nclose {} {}", close(handle), close(handle));
    }
    Ok(())
}
